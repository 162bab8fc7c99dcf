// The libraries, in one place: views import `html` and the hooks from here.
import { h, render, Fragment, createContext } from "./vendor/preact.mjs";
import htm from "./vendor/htm.mjs";

export { h, render, Fragment, createContext };
export { useCallback, useContext, useEffect, useErrorBoundary, useId, useLayoutEffect, useMemo, useReducer, useRef, useState } from "./vendor/hooks.mjs";

/** A tagged template that gives Preact elements. Values are text or attributes, never markup. */
export const html = htm.bind(h);
