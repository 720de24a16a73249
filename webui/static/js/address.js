/** Addresses of the server, wherever a proxy shows it: they follow from where this file itself came from. */

const ROOT = new URL('../../', import.meta.url);

/** @param {string} path of the API, such as `/api/jobs`, below whatever prefix the page has @returns {string} */
export const address = (path) => new URL(path.replace(/^\/+/, ''), ROOT).href;

/** @param {string} path @returns {string} */
export const socketAddress = (path) => address(path).replace(/^http/, 'ws');
