// Questions to a kernel that leave no trace in it: no variable, no output, no entry in the history.
import type { Kernel, KernelMessage } from "@jupyterlab/services";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Problem } from "../../shared/src/protocol";

const JSON_TYPE = "application/json";
const PROBLEM = "application/vnd.kerasedit.problem+json";

/** The kernel could not answer. */
export class KernelProblem extends Error {
  readonly type: string;

  constructor(type: string, message: string) {
    super(message);
    this.type = type;
  }
}

/** Nobody answered: the question went with a cell that failed, or its answer with the kernel or the connection. */
export class Unanswered extends KernelProblem {
  constructor(type: "aborted" | "gone" | "cut") {
    super(type, `No answer: ${type}`);
  }
}

/** Whether the kernel has no kerasedit, or one without a part that it needs. */
export function lacksKerasedit(problem: unknown): boolean {
  return problem instanceof KernelProblem && ["ModuleNotFoundError", "ImportError"].includes(problem.type);
}

/** What went wrong, for a person. */
export function inWords(problem: Error, kernel: string, trans: TranslationBundle): string {
  if (lacksKerasedit(problem)) {
    return trans.__("Models cannot be edited in the kernel '%1' (%2). Install kerasedit where this kernel runs: pip install kerasedit.", kernel, problem.message);
  }
  if (!(problem instanceof Unanswered)) return problem.message || trans.__("The kernel could not answer.");
  switch (problem.type) {
    case "aborted":
      return trans.__("The kernel was interrupted.");
    case "cut":
      return trans.__("The connection to the kernel was cut, and its answer is lost.");
    default:
      return trans.__("The kernel has ended, or was restarted.");
  }
}

interface Evaluated {
  status: string;
  ename?: string;
  evalue?: string;
  data?: Record<string, unknown>;
}

/** Asks `kerasedit.lab.kernel`. Waits while the kernel is busy. */
export async function ask<T>(kernel: Kernel.IKernelConnection, question: string, args: object = {}): Promise<T> {
  return evaluate<T>(kernel, call(question, args));
}

/**
 * Asks a kernel that may have nothing to do with Keras, or have no kerasedit. Nothing is imported and
 * nothing raised there then: IPython keeps errors as the user's latest.
 */
export async function askWhereKerasIs<T>(kernel: Kernel.IKernelConnection, question: string): Promise<T | "no Keras" | "no kerasedit"> {
  const hasKeras = `"keras" in __import__("sys").modules`;
  // A folder of that name is found too, and has no origin; so is a file, which is no package.
  const found = `__import__("importlib.util", fromlist=["find_spec"]).find_spec("kerasedit")`;
  const hasOurs = `(lambda spec: spec and spec.origin and spec.submodule_search_locations)(${found})`;
  const told = await evaluate<T>(kernel, `(${call(question, {})} if ${hasOurs} else False) if ${hasKeras} else None`);
  return told === "None" ? "no Keras" : told === "False" ? "no kerasedit" : told;
}

function call(question: string, args: object): string {
  // What JSON writes of a string, Python reads as the same string.
  const given = `${JSON.stringify(question)}, ${JSON.stringify(JSON.stringify(args))}`;
  return `__import__("kerasedit.lab.kernel", fromlist=["answer"]).answer(${given})`;
}

/** What an expression of our own gives: as JSON, or as text where it is no answer. */
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
  if (content.status !== "ok") throw new Unanswered("aborted");
  const { status, ename, evalue, data } = content.user_expressions["kerasedit"] as unknown as Evaluated;
  if (status !== "ok") throw new KernelProblem(ename ?? "Error", evalue ?? "");
  const problem = data?.[PROBLEM] as Problem | undefined;
  if (problem) throw new KernelProblem(problem.type, problem.message);
  return (data && JSON_TYPE in data ? data[JSON_TYPE] : data?.["text/plain"]) as T;
}

/** By the session a kernel is told from the one before it was restarted: the last that a connection heard of. */
const sessions = new WeakMap<Kernel.IKernelConnection, string>();

/** Lets a connection notice of a restart between two questions, too. */
export function followSession(kernel: Kernel.IKernelConnection): void {
  kernel.iopubMessage.connect((_, { header }) => void sessions.set(kernel, header.session));
}

/** A kernel that ends does not answer. */
export function unlessLost<T>(kernel: Kernel.IKernelConnection, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    let session = sessions.get(kernel);
    const lose = () => reject(new Unanswered("gone"));
    const look = () => {
      if (kernel.isDisposed || isLost(kernel.status)) lose();
    };
    // Of a restart that another connection asked for only the new kernel's messages tell.
    const hear = (_: unknown, { header }: KernelMessage.IIOPubMessage) => {
      session ??= header.session;
      if (header.session !== session) lose();
    };
    // What was answered while the connection was cut is lost. What is asked now is answered after it.
    const renew = () => {
      if (kernel.connectionStatus !== "connected") return;
      void kernel.requestKernelInfo().then(() => reject(new Unanswered("cut")), reject);
    };
    kernel.statusChanged.connect(look);
    kernel.disposed.connect(look);
    kernel.iopubMessage.connect(hear);
    kernel.connectionStatusChanged.connect(renew);
    void answer.then(resolve, reject).finally(() => {
      kernel.statusChanged.disconnect(look);
      kernel.disposed.disconnect(look);
      kernel.iopubMessage.disconnect(hear);
      kernel.connectionStatusChanged.disconnect(renew);
    });
  });
}

export function isLost(status: Kernel.Status): boolean {
  return ["restarting", "autorestarting", "terminating", "dead"].includes(status);
}
