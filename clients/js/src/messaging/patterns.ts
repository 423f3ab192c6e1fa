/** Pure: which patterns match a name. Both are segments joined by dots; in a pattern `*` is one segment, `>` one or more. */

/** Whether `pattern` matches `name`, both as segments. All states are walked at once, so it is never exponential. */
export function matches(pattern: string[], name: string[]): boolean {
  let states = new Set([0]);
  for (const segment of name) {
    const following = new Set<number>();
    for (const state of states) {
      if (pattern[state - 1] === ">") following.add(state);
      const expected = pattern[state];
      if (expected === segment || expected === "*" || expected === ">") following.add(state + 1);
    }
    states = following;
  }
  return states.has(pattern.length);
}
