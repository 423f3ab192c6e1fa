// What a page has of the module "crypto" of Node: nothing; it has a crypto of its own.
export default undefined;
