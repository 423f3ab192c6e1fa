/** The words of others, made harmless: what a peer or a relay says steers no terminal and forges no line of a log. */

const LONGEST = 512; // characters of the words of others in one text

/**
 * C0, DEL, C1; marks and changes of writing direction; line separators; characters that show nothing; lone surrogates.
 * Joiners (U+200C, U+200D) stay: Persian, Indic scripts and emoji are written with them.
 */
const STEERING =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}\ud800-\udfff]/gu;

const SHORT: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The words of others as a text of ours: on one line, cut, and whatever steers, breaks or hides in it written out. */
export function escaped(text: string, most: number = LONGEST): string {
  return (text.length <= most ? text : `${text.slice(0, most)}...`).replace(STEERING, visible);
}

/** An error with its stack, for a console: each of its lines is one that was written here. */
export function traceOf(error: Error): string {
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at |^[^\s@]*@\S+:\d+:\d+$/.test(line));
  return [`${escaped(error.name)}: ${escaped(error.message)}`, ...frames.map((line) => escaped(line))].join("\n");
}

function visible(character: string): string {
  const number = character.codePointAt(0) ?? 0;
  const hex = number.toString(16);
  if (number > 0xffff) return `\\u{${hex}}`;
  return SHORT[character] ?? (number < 0x100 ? `\\x${hex.padStart(2, "0")}` : `\\u${hex.padStart(4, "0")}`);
}
