/** Copies text. Pages that are not served over HTTPS have no clipboard object: there the old command does it. */
export async function copyText(text: string, beside: HTMLElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "ke-offscreen";
    beside.after(field);
    field.select();
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- the only way without a clipboard object
    document.execCommand("copy");
    field.remove();
    beside.focus();
  }
}
