// Keras models in JupyterLab.
import { comparisons } from "./comparePlugin";
import { editors } from "./editorPlugin";
import { files } from "./filePlugin";
import { models } from "./models";
import { quickStart } from "./quickStart";
import { settings } from "./settings";

export default [files, editors, comparisons, settings, models, quickStart];
