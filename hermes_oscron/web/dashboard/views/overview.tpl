% rebase('base.tpl', title='Overview', here='overview')
<h1 class="hidden">Overview</h1>
<div id="live" data-live{{' data-poll' if report.running else ''}} data-profiles="{{' '.join(home.profile for home in homes)}}">
% include('problems.tpl')
<section class="summary" aria-label="Summary">
<p class="headline">
% trouble = counts['failing']
% if not total:
No jobs yet. <a href="/jobs/new">Create the first one</a>, or create it in Hermes: it appears here by itself.
% elif disarmed or unavailable:
Nothing runs by itself at the moment.
% elif trouble:
<span class="bad">{{'The job fails' if total == 1 else '%d of %d jobs %s' % (trouble, total, 'fails' if trouble == 1 else 'fail')}}.</span>
% else:
{{'All %d jobs are' % total if total > 1 else 'The job is'}} well.
% end
% if coming and not disarmed and not unavailable:
 Next: <a href="{{coming[0].path}}"><bdi>{{coming[0].name}}</bdi></a> {{!clock.ago(coming[0].next)}}.
% end
</p>
</section>
% if running:
<section class="card now" aria-labelledby="h-now">
<h2 id="h-now">Running now</h2>
<ul class="entries">
% for row in running:
<li>
% include('mark.tpl', state=row.state)
<a class="what" href="{{row.path}}"><bdi>{{row.name}}</bdi></a>
<span class="when">{{'queued for' if row.run.queued else 'for'}} {{!clock.elapsed(clock.now - row.run.elapsed)}}</span>
<form method="post" action="{{row.path}}/stop"><input type="hidden" name="csrf" value="{{form_token}}"><input type="hidden" name="next" value="{{wanted.url()}}"><button class="quiet" aria-label="Stop {{row.name}}">Stop</button></form>
</li>
% end
</ul>
</section>
% end
% if total or wanted.profile:
<section class="timeline-card" aria-labelledby="h-timeline">
<div class="bar">
<h2 id="h-timeline">Timeline</h2>
<nav class="chips" aria-label="Jobs by state">
% for name, label in filters.items():
% if counts[name] or name in (wanted.shown, 'active', 'all'):
<a href="{{wanted.url(shown=name, page=1)}}"{{!' aria-current="true"' if wanted.shown == name else ''}}>{{label}} <b>{{counts[name]}}</b></a>
% end
% end
</nav>
% if len(homes) > 1:
<nav class="chips" aria-label="Profiles">
<a href="{{wanted.url(profile='', page=1)}}"{{!' aria-current="true"' if not wanted.profile else ''}}>All profiles</a>
% for home in homes:
<a href="{{wanted.url(profile=home.profile, page=1)}}"{{!' aria-current="true"' if wanted.profile == home.profile else ''}}>{{home.profile}}</a>
% end
</nav>
% end
<nav class="chips zoom" aria-label="Time shown before and after now">
% for hours, label in spans.items():
<a href="{{wanted.url(hours=hours)}}"{{!' aria-current="true"' if wanted.hours == hours else ''}} aria-label="{{label}}">{{'%d h' % hours if hours < 48 else '%d d' % (hours // 24)}}</a>
% end
</nav>
<form class="search" role="search" action="/" data-search>
% for name in ('profile', 'hours', 'shown'):
<input type="hidden" name="{{name}}" value="{{getattr(wanted, name)}}">
% end
<input type="search" name="text" value="{{wanted.text}}" placeholder="Search" aria-label="Search jobs" maxlength="200">
</form>
</div>
% if groups:
<div class="timeline">
<div class="axis"><svg role="img" aria-label="{{spans[wanted.hours]}} before and after now">
% for tick in filter(lambda tick: tick.label, ticks):
<text class="{{tick.style}}" x="{{'%.2f' % tick.place}}%" y="16" data-t="{{'%.0f' % tick.moment}}">{{tick.label}}</text>
% end
<text class="now" x="50%" y="16">now</text>
% for place, label in changes:
<text class="change" x="{{'%.2f' % place}}%" y="16">±h<title>{{label}}</title></text>
% end
</svg></div>
<div class="lanes">
<svg class="grid" aria-hidden="true">
% for tick in ticks:
<line class="{{tick.style}}" x1="{{'%.2f' % tick.place}}%" x2="{{'%.2f' % tick.place}}%" y1="0" y2="100%"/>
% end
% for place, label in changes:
<line class="change" x1="{{'%.2f' % place}}%" x2="{{'%.2f' % place}}%" y1="0" y2="100%"/>
% end
<line class="now" x1="50%" x2="50%" y1="0" y2="100%"/>
</svg>
% for profile, lanes in groups:
% if len(groups) > 1:
<h3 class="group">{{profile}}</h3>
% end
<ul>
% for lane in lanes:
<li class="lane {{lane.row.state}}">
<span class="label">
% include('mark.tpl', state=lane.row.state)
<a href="{{lane.row.path}}"><bdi>{{lane.row.name}}</bdi></a><span class="schedule"><bdi>{{lane.row.schedule}}</bdi></span></span>
<svg class="track" role="img" aria-label="{{!lane.summary}}">{{!lane.svg}}</svg>
<span class="next">{{!clock.ago(lane.row.next) if lane.row.next and lane.row.state not in ('running', 'queued') else lane.row.state}}</span>
</li>
% end
</ul>
% end
</div>
</div>
<ul class="legend" aria-label="Marks">
% for outcome in ('ok', 'error', 'timeout', 'interrupted', 'stopped', 'skipped', 'missed', 'running'):
<li>
% include('mark.tpl', state=outcome)
{{outcome}}</li>
% end
<li><svg class="mark coming" viewBox="-8 -8 16 16" aria-hidden="true"><circle r="4"/></svg>to come</li>
% if changes:
<li><span class="change-mark" aria-hidden="true"></span>{{changes[0][1]}}</li>
% end
</ul>
% if pages > 1:
<nav class="pages" aria-label="Pages of jobs">
% if wanted.page > 1:
<a rel="prev" href="{{wanted.url(page=wanted.page - 1)}}">Previous</a>
% end
<span>Page {{wanted.page}} of {{pages}}, {{found}} jobs</span>
% if wanted.page < pages:
<a rel="next" href="{{wanted.url(page=wanted.page + 1)}}">Next</a>
% end
</nav>
% end
% elif total:
<p class="empty">No job matches.</p>
% end
</section>
% end
<div class="cards">
% if failures:
<section class="card" aria-labelledby="h-failed">
<h2 id="h-failed">Failed in the last 7 days</h2>
<ul class="entries troubles">
% for row, home, each in failures:
<li class="{{'open' if row and row.state in ('failing', 'broken') else 'over'}}">
% include('mark.tpl', state=each.outcome)
% if row:
<a class="what" href="{{row.path}}"><bdi>{{row.name}}</bdi></a>
% else:
<span class="what"><bdi>{{each.name or each.job}}</bdi> <small>deleted</small></span>
% end
<span class="when">{{'%d times, last ' % each.number if each.number > 1 else ''}}{{!clock.ago(each.due)}}</span>
<p class="reason"><bdi>{{each.reason or each.outcome}}</bdi></p>
</li>
% end
</ul>
% if more_failures:
<p class="more"><a href="{{wanted.url(shown='failing', page=1)}}">{{more_failures}} more</a></p>
% end
</section>
% end
% if missed:
<section class="card" aria-labelledby="h-missed">
<h2 id="h-missed">Missed in the last 7 days</h2>
<ul class="entries troubles">
% for row, home, each in missed:
<li>
% include('mark.tpl', state='missed')
% if row:
<a class="what" href="{{row.path}}"><bdi>{{row.name}}</bdi></a>
% else:
<span class="what"><bdi>{{each.name or each.job}}</bdi> <small>deleted</small></span>
% end
<span class="when">{{'%d times, last ' % each.number if each.number > 1 else ''}}{{!clock.ago(each.due)}}</span>
<p class="reason"><bdi>{{each.reason or ''}}</bdi></p>
</li>
% end
</ul>
% if more_missed:
<p class="more">{{more_missed}} more</p>
% end
</section>
% end
% if total:
<section class="card" aria-labelledby="h-next">
<h2 id="h-next">Next</h2>
% if coming:
<ol class="entries">
% for row in coming:
<li>
% include('mark.tpl', state='scheduled')
<a class="what" href="{{row.path}}"><bdi>{{row.name}}</bdi></a>
<span class="when">{{!clock.time(row.next)}} {{!clock.ago(row.next)}}</span>
</li>
% end
</ol>
% else:
<p class="empty">Nothing is scheduled.</p>
% end
</section>
% end
<section class="card" aria-labelledby="h-health">
<h2 id="h-health">Health</h2>
% include('health.tpl')
</section>
</div>
</div>
