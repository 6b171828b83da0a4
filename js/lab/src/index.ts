// Keras models in JupyterLab.
import { editors } from "./editorPlugin";
import { files } from "./filePlugin";

export default [files, editors];
