/** The address bar as state. Links stay links: only plain clicks on our own pages are taken over. */
import { parseRoute, type Route } from './pages';

class Router {
  route = $state.raw<Route>(parseRoute(location.pathname));

  constructor() {
    window.addEventListener('popstate', () => (this.route = parseRoute(location.pathname)));
    document.addEventListener('click', (e) => this.#click(e));
  }

  go(path: string): void {
    history.pushState(null, '', path);
    this.route = parseRoute(location.pathname);
    window.scrollTo(0, 0);
  }

  #click(e: MouseEvent): void {
    if (e.defaultPrevented || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    const link = e.target instanceof Element ? e.target.closest('a') : null;
    if (!link || link.target !== '' || link.origin !== location.origin || !link.pathname.startsWith('/console')) return;
    e.preventDefault();
    this.go(link.pathname);
  }
}

export const router = new Router();
