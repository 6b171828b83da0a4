// Threads of a kernel that answer while a cell runs. They end with the page that asked for them.
//
// A page that goes away cannot wait until the kernel has heard of it, and under load what it says
// last is lost. Where it is loaded anew, its notes tell which subshells it has left behind.
import { CommsOverSubshells, type Kernel } from "@jupyterlab/services";
import { unlessLost } from "./ask";

interface Note {
  kernel: string;
  subshell: string;
}

const KEY = "kerasedit:subshells";

/** A page that was duplicated has the notes of one that goes on. */
const [navigation] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
let left = navigation?.type === "reload" ? read() : [];
write([]);

/** A subshell's name; null where the kernel has none. */
export async function newSubshell(kernel: Kernel.IKernelConnection): Promise<string | null> {
  if (!kernel.supportsSubshells || kernel.commsOverSubshells === CommsOverSubshells.Disabled) return null;
  for (const note of left.filter((it) => it.kernel === kernel.id)) {
    left = left.filter((it) => it !== note);
    end(kernel, note.subshell).catch(() => undefined); // Most often the page could.
  }
  const { subshell_id: subshell } = (await unlessLost(kernel, kernel.requestCreateSubshell({}).done)).content;
  write([...read(), { kernel: kernel.id, subshell }]);
  return subshell;
}

export async function deleteSubshell(kernel: Kernel.IKernelConnection, subshell: string | null): Promise<void> {
  if (subshell === null) return;
  await end(kernel, subshell);
  write(read().filter((it) => it.subshell !== subshell));
}

async function end(kernel: Kernel.IKernelConnection, subshell: string): Promise<void> {
  await unlessLost(kernel, kernel.requestDeleteSubshell({ subshell_id: subshell }).done);
}

function read(): Note[] {
  return JSON.parse(sessionStorage.getItem(KEY) ?? "[]") as Note[];
}

function write(notes: Note[]): void {
  sessionStorage.setItem(KEY, JSON.stringify(notes));
}
