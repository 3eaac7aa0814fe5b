% shape = {"failing": "error", "broken": "error"}.get(state, state)
<svg class="mark {{shape}}" viewBox="-8 -8 16 16" aria-hidden="true"><use href="#m-{{shape}}"/></svg>\\
