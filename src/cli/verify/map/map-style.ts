/** How the map looks. Damage differs from what is fine by its height, too, not by colour alone. */
export const MAP_STYLE = `
.key { display: inline-block; width: 1.2em; height: 0.5em; vertical-align: middle; background: var(--good); }
.key.broken { background: var(--bad); height: 1em; } .key.header { height: 1em; border: 2px solid var(--bad); background: none; }
.key.unread { height: 1em; background: repeating-linear-gradient(45deg, var(--warn) 0 2px, transparent 2px 5px); }
#whole { display: block; width: 100%; height: 48px; background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
  cursor: pointer; }
.tools { display: flex; flex-wrap: wrap; gap: 0.5rem 1.25rem; align-items: center; margin: 0.75rem 0; }
#shown { color: var(--faint); margin-left: auto; }
#list { max-height: min(60vh, 36rem); overflow-y: auto; border: 1px solid var(--line); border-radius: 6px; position: relative; }
#rows { position: absolute; left: 0; right: 0; }
.row { display: grid; grid-template-columns: minmax(9rem, 22rem) 6rem 8.5rem 1fr; gap: 0.75rem; align-items: center; height: 32px;
  padding: 0 0.6rem; border-bottom: 1px solid var(--line); cursor: pointer; white-space: nowrap; }
.row > * { overflow: hidden; text-overflow: ellipsis; }
.row[aria-selected="true"] { background: var(--panel); box-shadow: inset 3px 0 var(--accent); }
.row .number { text-align: right; font-variant-numeric: tabular-nums; }
.row canvas { width: 100%; height: 20px; }
#detail { margin-top: 0.75rem; } #detail p { margin: 0.2rem 0; }
@media (max-width: 40rem) { .row { grid-template-columns: 1fr 4.5rem; grid-template-rows: 22px 20px; height: 50px; row-gap: 0; padding-top: 3px; }
  .row .blocks { display: none; } .row canvas { grid-column: 1 / -1; height: 16px; } }
`;
