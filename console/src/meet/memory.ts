/** What the page remembers on this device. Storage may be denied: then it forgets. */

type Key = 'name' | 'camera' | 'mic';

export function load(key: Key): string {
  try {
    return localStorage.getItem(`concertina.${key}`) ?? '';
  } catch {
    return '';
  }
}

/** save keeps a value; "" removes it. */
export function save(key: Key, value: string): void {
  try {
    if (value === '') localStorage.removeItem(`concertina.${key}`);
    else localStorage.setItem(`concertina.${key}`, value);
  } catch {
    // Private windows of some browsers refuse: the page works without.
  }
}
