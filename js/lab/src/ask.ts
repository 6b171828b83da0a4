// Questions to a kernel that leave no trace in it: no variable, no output, no entry in the history.
import type { Kernel } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";

/** The kernel could not answer. */
export class KernelProblem extends Error {
  readonly type: string;

  constructor(type: string, message: string) {
    super(message);
    this.type = type;
  }
}

/** Whether the kernel has no kerasedit, or one without a part that it needs. */
export function lacksKerasedit(problem: unknown): boolean {
  return problem instanceof KernelProblem && ["ModuleNotFoundError", "ImportError"].includes(problem.type);
}

/** What went wrong, for a person. */
export function inWords(problem: Error, kernel: string, words: TranslationBundle): string {
  if (!lacksKerasedit(problem)) return problem.message;
  return words.__("Models cannot be edited in the kernel '%1' (%2). Install kerasedit where this kernel runs: pip install kerasedit.", kernel, problem.message);
}

interface Evaluated {
  status: string;
  ename?: string;
  evalue?: string;
  data?: Record<string, unknown>;
}

/** Asks `kerasedit.lab.kernel`. Waits while the kernel is busy. */
export async function ask<T>(kernel: Kernel.IKernelConnection, question: string, args: object = {}): Promise<T> {
  // What JSON writes of a string, Python reads as the same string.
  const call = `.answer(${JSON.stringify(question)}, ${JSON.stringify(JSON.stringify(args))})`;
  return evaluate<T>(kernel, `__import__("kerasedit.lab.kernel", fromlist=["answer"])${call}`);
}

/** What an expression of our own gives, as JSON. */
export async function evaluate<T>(kernel: Kernel.IKernelConnection, expression: string): Promise<T> {
  const future = kernel.requestExecute({
    code: "",
    silent: true,
    store_history: false,
    allow_stdin: false,
    stop_on_error: false,
    user_expressions: { kerasedit: expression },
  });
  const { content } = await unlessLost(kernel, future.done);
  if (content.status !== "ok") throw new KernelProblem("aborted", "The kernel was interrupted.");
  const { status, ename, evalue, data } = content.user_expressions["kerasedit"] as unknown as Evaluated;
  if (status !== "ok") throw new KernelProblem(ename ?? "Error", evalue ?? "The kernel could not answer.");
  return data?.["application/json"] as T;
}

/** A kernel that ends does not answer. */
export function unlessLost<T>(kernel: Kernel.IKernelConnection, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const lost = () => {
      if (kernel.isDisposed || isLost(kernel.status)) reject(new KernelProblem("gone", "The kernel has ended, or was restarted."));
    };
    kernel.statusChanged.connect(lost);
    kernel.disposed.connect(lost);
    void answer.then(resolve, reject).finally(() => {
      kernel.statusChanged.disconnect(lost);
      kernel.disposed.disconnect(lost);
    });
  });
}

export function isLost(status: Kernel.Status): boolean {
  return ["restarting", "autorestarting", "terminating", "dead"].includes(status);
}
