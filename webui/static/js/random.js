/** What must differ each time. Both work without a secure context, too. */

const MAX_SEED = 2 ** 32;

/** A seed as people can still type it. */
export const randomSeed = () => Math.floor(Math.random() * MAX_SEED);

/** A key for one press of a button, by which the server knows a repeated request. */
export const randomKey = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('-');
