/** What the page needs once its history is seen: read then and not before, since each file is a question to the server. */

export { Compare } from './editor/compare.js';
export { Editor } from './editor/editor.js';
export { BringIn } from './exchange/bring_in.js';
export { ContactSheet } from './grids/contact_sheet.js';
export { GridDialog } from './grids/grid_dialog.js';
export { ModelsView } from './models/view.js';
export { Panel } from './panel.js';
export { Presets } from './presets/presets.js';
