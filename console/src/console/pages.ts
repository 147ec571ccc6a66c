/** The pages of the Inspector and their addresses. A page is one entry here and one component in App. */
import type { IconName } from '../ui/icons';

export interface Page {
  /** First part of the path below /console/, and the word of the navigation. */
  id: 'rooms';
  title: string;
  icon: IconName;
}

/** In the order of the navigation. Cluster, jobs, events, usage and the simulator will stand here too. */
export const pages: readonly Page[] = [{ id: 'rooms', title: 'Rooms', icon: 'rooms' }];

/** Route is where the reader is. */
export interface Route {
  page: Page['id'];
  /** The one thing that is looked at: for rooms, its name. */
  item: string | undefined;
}

/** parseRoute reads a path; what it does not know is the list of rooms. */
export function parseRoute(pathname: string): Route {
  const match = /^\/console\/([a-z]+)(?:\/(.+))?$/.exec(pathname);
  const page = pages.find((p) => p.id === match?.[1]);
  if (!page) return { page: 'rooms', item: undefined };
  try {
    return { page: page.id, item: match?.[2] === undefined ? undefined : decodeURIComponent(match[2]) };
  } catch {
    return { page: page.id, item: undefined };
  }
}

/** href is the path of a route. */
export function href(page: Page['id'], item?: string): string {
  return `/console/${page}` + (item === undefined ? '' : `/${encodeURIComponent(item)}`);
}
