import { LabIcon } from "@jupyterlab/ui-components";

// Layers that feed one another, in JupyterLab's colours.
export const modelIcon = new LabIcon({
  name: "kerasedit:model",
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 22 22">
  <g class="jp-icon-warn0 jp-icon-selectable" fill="#e65100">
    <path d="M4 3h14v4H4zM4 9h9v4H4zM4 15h14v4H4z"/>
    <path d="M15 7h1.6v8H15z"/>
  </g>
</svg>`,
});
