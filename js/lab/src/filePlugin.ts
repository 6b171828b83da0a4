import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { WidgetTracker } from "@jupyterlab/apputils";
import type { DocumentRegistry, DocumentWidget } from "@jupyterlab/docregistry";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { type FileContent, FileModelFactory, FileWidgetFactory, MODEL } from "./fileWidget";
import { modelIcon } from "./icon";

const FACTORY = "Keras model";
const TYPES = [
  { name: "keras", extensions: [".keras"] },
  { name: "keras-h5", extensions: [".h5", ".hdf5"] },
];

/** Model files open in a tab: to be looked at without a kernel, and edited with one of their own. */
export const files: JupyterFrontEndPlugin<void> = {
  id: "kerasedit:files",
  description: "Opens Keras model files.",
  autoStart: true,
  optional: [ILayoutRestorer, ITranslator],
  activate(app: JupyterFrontEnd, restorer: ILayoutRestorer | null, translator: ITranslator | null) {
    const trans = (translator ?? nullTranslator).load("kerasedit");
    for (const { name, extensions } of TYPES) {
      app.docRegistry.addFileType({
        name,
        displayName: trans.__("Keras model"),
        extensions,
        mimeTypes: ["application/octet-stream"],
        contentType: "file",
        fileFormat: "base64",
        icon: modelIcon,
      });
    }
    const names = TYPES.map(({ name }) => name);
    const factory = new FileWidgetFactory(
      {
        name: FACTORY,
        label: trans.__("Keras model"),
        fileTypes: names,
        defaultFor: names,
        modelName: MODEL,
        canStartKernel: true,
      },
      { services: app.serviceManager, trans, save: () => void app.commands.execute("docmanager:save") },
    );
    const tracker = new WidgetTracker<DocumentWidget<FileContent>>({ namespace: "kerasedit-files" });
    factory.widgetCreated.connect((_, widget) => {
      widget.title.icon = modelIcon;
      widget.context.pathChanged.connect(() => void tracker.save(widget));
      void tracker.add(widget);
    });
    app.docRegistry.addModelFactory(new FileModelFactory());
    app.docRegistry.addWidgetFactory(factory as DocumentRegistry.WidgetFactory);
    void restorer?.restore(tracker, {
      command: "docmanager:open",
      args: ({ context }) => ({ path: context.path, factory: FACTORY }),
      name: ({ context }) => context.path,
    });
  },
};
