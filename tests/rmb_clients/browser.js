// Bundled for a page: the genuine client as window.Client.
export { Client } from "@threefold/rmb_direct_client";
