% rebase('base.tpl', title=job['name'], here='', logged_in=True)
% setdefault('done', '')
<nav class="crumbs" aria-label="Where this is"><a href="/">Overview</a> / {{home.profile}}</nav>
<div class="title"><h1><bdi>{{job['name']}}</bdi></h1><span class="badge {{row.state}}" id="badge" data-live>\\
% include('mark.tpl', state=row.state)
{{row.state}}</span></div>
<div id="live" data-live data-profiles="{{home.profile}}">
% if done:
<p class="done" role="status">{{done}}</p>
% end
% if disarmed:
<p class="problem" role="alert">The jobs are disarmed since {{!clock.time(disarmed)}}. <code>hermes-oscron arm</code> arms them again.</p>
% end
% if never:
<p class="problem" role="alert"><bdi>It never fires: {{never}}</bdi></p>
% elif row.state == 'failing':
<p class="problem" role="alert"><bdi>The last run failed: {{row.error or 'no reason is recorded.'}}</bdi></p>
% elif job['last_delivery_error']:
<p class="problem warn"><bdi>{{job['last_delivery_error']}}</bdi></p>
% end
% for note in notes:
<p class="problem warn"><bdi>{{note[:1].upper() + note[1:]}}</bdi></p>
% end
% if job['held']:
<p class="problem warn"><bdi>{{job['held'][:1].upper() + job['held'][1:]}}</bdi></p>
% end
% if row.state == 'paused':
<p class="problem warn">Paused{{!' since ' + clock.time(paused_at) if paused_at else ''}}<bdi>{{': ' + job['paused_reason'] if job.get('paused_reason') else '.'}}</bdi></p>
% end
<div class="actions" role="group" aria-label="Actions">
% if run:
<form method="post" action="{{row.path}}/stop"><input type="hidden" name="csrf" value="{{form_token}}"><button>Stop</button></form>
% else:
<form method="post" action="{{row.path}}/run"><input type="hidden" name="csrf" value="{{form_token}}"><button>Run now</button></form>
% end
% if row.state == 'paused':
<form method="post" action="{{row.path}}/resume"><input type="hidden" name="csrf" value="{{form_token}}"><button class="quiet">Resume</button></form>
% elif job['state'] != 'completed':
<details id="pause" class="pop"><summary class="button quiet">Pause</summary>
<form method="post" action="{{row.path}}/pause"><input type="hidden" name="csrf" value="{{form_token}}">
<label for="reason">Reason <small class="muted">(optional)</small></label><input id="reason" name="reason" maxlength="4096"><button>Pause</button></form></details>
% end
<a class="button quiet" href="{{row.path}}/edit">Edit</a>
<a class="button quiet" href="{{row.path}}/copy">Copy</a>
<details id="delete" class="pop"><summary class="button quiet">Delete</summary>
<form method="post" action="{{row.path}}/delete"><input type="hidden" name="csrf" value="{{form_token}}">
<p>The job and its outputs are removed. This cannot be undone.</p>
<label class="check"><input type="checkbox" name="keep_outputs" value="1"> Keep its outputs</label>
% if run:
<label class="check"><input type="checkbox" name="stop" value="1"> Stop the run in progress</label>
% end
<button class="danger">Delete the job</button></form></details>
</div>
% if run:
<section class="card now" aria-labelledby="h-log">
<h2 id="h-log">{{'Queued' if run.queued else 'Running'}} for {{!clock.elapsed(clock.now - run.elapsed)}}{{run.place}}</h2>
<pre class="text" data-log="{{row.path}}/log" data-offset="{{log.next}}" tabindex="0" aria-label="Output so far" dir="auto">{{log.text}}</pre>
</section>
% end
<div class="columns">
<section class="card" aria-labelledby="h-schedule">
<h2 id="h-schedule">Schedule</h2>
<p class="words"><bdi>{{words or job['schedule_display']}}</bdi></p>
<dl class="facts">
% if job['schedule']['expression']:
<dt>Expression</dt><dd><code>{{job['schedule']['expression']}}</code></dd>
% end
<dt>Zone</dt><dd>{{zone}}</dd>
% if armed:
<dt>Armed as</dt><dd>
% for line in armed:
<code class="line">{{line}}</code>
% end
</dd>
% end
<dt>Fired by</dt><dd>{{scheduler}}</dd>
<dt>Runs</dt><dd>{{job['repeat']['completed']}}{{' of %d' % job['repeat']['times'] if job['repeat']['times'] else ''}}</dd>
% for name, value in settings.items():
<dt>{{name}}</dt><dd><bdi>{{value}}</bdi></dd>
% end
<dt>Id</dt><dd><code>{{home.profile}}:{{row.id}}</code></dd>
</dl>
</section>
<section class="card" aria-labelledby="h-times">
<h2 id="h-times">Next times</h2>
% if times:
<ol class="times">
% for moment in times:
<li>{{!clock.time(moment, 'full')}} {{!clock.ago(moment)}}</li>
% end
</ol>
% else:
<p class="empty">None.</p>
% end
</section>
% if job['prompt']:
<section class="card" aria-labelledby="h-prompt">
<h2 id="h-prompt">Prompt</h2>
<pre class="text prompt" dir="auto" tabindex="0" aria-label="Prompt">{{job['prompt']}}</pre>
</section>
% end
</div>
<section class="card" aria-labelledby="h-runs">
<h2 id="h-runs">Runs</h2>
% if ledger_problem:
<p class="problem">{{ledger_problem}}</p>
% end
% if runs:
% if facts['count'] > 1:
<p class="muted">{{facts['ok']}} of the last {{facts['count']}} runs went well\\
% if facts['median'] is not None:
; the median is {{duration(facts['median'])}}\\
% end
% if facts['tokens'] is not None:
; {{'{:,}'.format(facts['tokens'])}} tokens\\
% end
% if facts['cost'] is not None:
; ${{'%.2f' % facts['cost']}}\\
% end
.</p>
% end
<figure class="plot">
<svg height="150" aria-hidden="true">
<line class="base" x1="0" x2="100%" y1="112.5" y2="112.5"/>
{{!plot.svg}}</svg>
<figcaption><span class="hidden">Duration, lateness and outcome of the last runs; the table below has the same.</span><span>{{'longest: ' + plot.longest if plot.longest else ''}}</span><span>{{'latest: ' + plot.latest + ' after its time' if plot.latest else ''}}</span></figcaption>
</figure>
<div class="scroll"><table class="runs">
<thead><tr><th scope="col">Due</th><th scope="col">Outcome</th><th scope="col">Late</th><th scope="col">Took</th>
% has = {name: any(getattr(each.row if name in ('node', 'cpu_s', 'memory_bytes') else each, name) for each in runs) for name in ('node', 'tokens', 'cost', 'cpu_s', 'memory_bytes')}
% for name, label in (('node', 'Node'), ('cpu_s', 'CPU'), ('memory_bytes', 'Memory'), ('tokens', 'Tokens'), ('cost', 'Cost')):
% if has[name]:
<th scope="col">{{label}}</th>
% end
% end
<th scope="col">Reason</th><th scope="col">Output</th></tr></thead>
<tbody>
% for each in runs:
<tr id="run-{{each.row.id}}">
<td data-label="Due">{{!clock.time(each.row.due)}}{{'' if each.row.trigger == 'schedule' else ' ' + each.row.trigger}}{{', attempt %d' % each.row.attempt if each.row.attempt > 1 else ''}}</td>
<td data-label="Outcome"><span class="outcome">\\
% include('mark.tpl', state=each.outcome)
{{each.outcome}}</span></td>
<td data-label="Late">{{duration(each.late) if each.late is not None and each.row.trigger != 'manual' else ''}}</td>
<td data-label="Took">{{duration(each.took)}}</td>
% if has['node']:
<td data-label="Node">{{each.row.node or ''}}{{' (job %s of Slurm)' % each.row.cluster_job if each.row.cluster_job else ''}}</td>
% end
% if has['cpu_s']:
<td data-label="CPU">{{duration(each.row.cpu_s)}}</td>
% end
% if has['memory_bytes']:
<td data-label="Memory">{{'%d MiB' % round(each.row.memory_bytes / 2**20) if each.row.memory_bytes else ''}}</td>
% end
% if has['tokens']:
<td data-label="Tokens">{{each.tokens}}</td>
% end
% if has['cost']:
<td data-label="Cost">{{each.cost}}</td>
% end
<td data-label="Reason" class="reason">\\
% if each.row.reason or each.row.delivery_error:
<bdi>{{each.row.reason or each.row.delivery_error}}</bdi>\\
% end
</td>
<td data-label="Output" class="link">\\
% if each.row.output:
<a href="{{row.path}}/outputs/{{each.row.output}}" aria-label="Output of {{clock.text(each.row.due)}}">Output</a>\\
% end
</td></tr>
% end
</tbody></table></div>
% if earlier or before:
<nav class="pages" aria-label="Pages of runs">
% if before:
<a href="{{row.path}}">Newest</a>
% end
% if earlier:
<a rel="next" href="{{row.path}}?before={{'%.6f' % earlier}}">Earlier</a>
% end
</nav>
% end
% elif not ledger_problem:
<p class="empty">No runs yet.</p>
% end
% if outputs:
<details id="outputs" class="outputs"><summary>{{len(outputs)}} output{{'s' if len(outputs) > 1 else ''}}</summary>
<ul class="times">
% for each in outputs:
<li><a href="{{row.path}}/outputs/{{each.filename}}">{{each.filename}}</a> <span class="muted">{{'%d KiB' % (each.size // 1024) if each.size >= 1024 else '%d bytes' % each.size}}</span></li>
% end
</ul></details>
% end
</section>
</div>
