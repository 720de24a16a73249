/** The tree of a clip's versions: what it was made from, and what was made from it. */

import { el } from '../dom.js';
import { titleOf } from '../format.js';
import { origin, versionText } from '../texts.js';

/** @typedef {import('../api.js').Job} Job */

/**
 * The versions as a tree; one whose parent is gone stands at the top.
 * @param {Job[]} jobs @returns {{job: Job, children: any[]}[]}
 */
function treeOf(jobs) {
  const nodes = new Map(jobs.map((job) => [job.id, { job, children: [] }]));
  const roots = [];
  for (const node of nodes.values()) (nodes.get(node.job.parent)?.children ?? roots).push(node);
  return roots;
}

/** The id of what a version was made from, if that is still there. @param {Job[]} jobs @param {string} id */
export function parentOf(jobs, id) {
  const parent = jobs.find((job) => job.id === id)?.parent;
  return jobs.find((job) => job.id === parent) ?? null;
}

/**
 * @param {Job[]} jobs @param {string} shown id of the version in the editor @param {(job: Job) => void} open
 * @returns {HTMLElement}
 */
export function versionsList(jobs, shown, open) {
  const item = ({ job, children }, name) => el('li', {}, button(job, name, shown, open), list(children));
  const list = (nodes) => (nodes.length ? el('ul', {}, ...namesOf(nodes).map((name, i) => item(nodes[i], name))) : null);
  return list(treeOf(jobs)) ?? el('ul', {});
}

/** Those that came out of a clip in the same way are counted. */
function namesOf(nodes) {
  const names = nodes.map(({ job }) => (job.parent ? origin(job) : titleOf(job)));
  return names.map((name, i) => {
    const same = names.slice(0, i).filter((other) => other === name).length;
    return names.filter((other) => other === name).length > 1 ? `${name} \u00b7 ${same + 1}` : name;
  });
}

function button(job, text, shown, open) {
  return el('button', {
    type: 'button', class: 'version', 'data-id': job.id, 'aria-current': job.id === shown && 'true', disabled: !job.audio,
    title: job.title || text, onclick: () => open(job),
  }, versionText(text, job));
}
