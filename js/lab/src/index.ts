// Keras models in JupyterLab.
import { editors } from "./editorPlugin";
import { files } from "./filePlugin";
import { models } from "./models";
import { quickStart } from "./quickStart";
import { settings } from "./settings";

export default [files, editors, settings, models, quickStart];
