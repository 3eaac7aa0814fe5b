<!doctype html>
<html lang="en"\\
% if get('clock'):
 data-now="{{'%.3f' % clock.now}}" data-zone="{{clock.zone.key}}"\\
% end
>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{{title}} · hermes-oscron</title>
<link rel="icon" href="{{asset('icon.svg')}}">
<link rel="stylesheet" href="{{asset('style.css')}}">
<script type="module" src="{{asset('dashboard.js')}}"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="/"><svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="9.5"/><path d="M12 6.5V12l3.5 2.5"/></svg><span>hermes-oscron</span></a>
% if get('here') is not None:
<nav aria-label="Pages">
% for key, path, label in (("overview", "/", "Overview"), ("new", "/jobs/new", "New job"), ("checks", "/checks", "Health"), ("alerts", "/alerts", "Alerts"), ("audit", "/audit", "Audit")):
<a href="{{path}}"{{!' aria-current="page"' if here == key else ''}}>{{label}}</a>
% end
</nav>
% if logged_in:
<form class="logout" method="post" action="/logout"><input type="hidden" name="csrf" value="{{form_token}}"><button class="quiet">Log out</button></form>
% end
% end
</header>
<div id="notice" class="notice" role="status" hidden></div>
<main id="main" tabindex="-1">
{{!base}}
</main>
% if get('clock'):
<footer class="zones"><span>Times are in <b id="zone">{{clock.zone.key}}</b>, the zone of the server<span id="other-zone"></span>.</span></footer>
% end
<svg class="sprite" aria-hidden="true" focusable="false"><defs>
<circle id="m-ok" r="4.5"/>
<path id="m-error" d="M0-6.5 6.5 0 0 6.5-6.5 0z"/>
<path id="m-timeout" d="M0-6 6.2 4.8H-6.2z"/>
<path id="m-interrupted" class="stroke" d="M-4.2-4.2 4.2 4.2M4.2-4.2-4.2 4.2"/>
<path id="m-stopped" d="M-4.5-4.5h9v9h-9z"/>
<path id="m-skipped" class="stroke" d="M-4.5 0h9"/>
<g id="m-missed" class="hollow"><circle r="5"/><path d="M-3.5 3.5 3.5-3.5"/></g>
<path id="m-running" d="M-4-5.5 6 0-4 5.5z"/>
<path id="m-queued" class="stroke" d="M-3-4.5 1.5 0-3 4.5"/>
<circle id="m-scheduled" class="hollow" r="4.5"/>
<path id="m-paused" class="stroke" d="M-2.8-4v8M2.8-4v8"/>
<path id="m-completed" class="stroke" d="M-4.5 0-1.5 3.5 4.5-3.5"/>
</defs></svg>
</body>
</html>
