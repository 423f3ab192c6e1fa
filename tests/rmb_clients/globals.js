// What bundlers give a page of the globals of Node that the package uses.
export { Buffer } from "buffer";
