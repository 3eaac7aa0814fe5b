% rebase('base.tpl', title='Alerts', here='alerts')
<h1>Alerts</h1>
<div id="live" data-live{{!' data-poll' if receivers else ''}}>
% if problem:
<p class="problem" role="alert"><bdi>{{problem}}</bdi></p>
% end
% if not receivers and not problem:
<section class="card spaced" aria-labelledby="h-setup">
<h2 id="h-setup">No alerts are set up</h2>
<p>No message is sent when a job fails. Two lines in <code>{{settings}}</code> are enough to get a mail:</p>
<pre class="text" tabindex="0" aria-label="Lines for oscron.toml">[notify]
urls = ["mailto://user:password@example.org?to=admin@example.org"]</pre>
<p>The URLs are those of Apprise (<code>https://appriseit.com/services/</code>), for mail, ntfy, Slack, Telegram and many more. A <code>command</code> of your own, or a <code>ping</code> of a monitor such as Healthchecks, works too.</p>
<p><code>hermes-oscron notify test</code> sends a test to each receiver.</p>
</section>
% elif receivers:
<section class="card spaced" aria-labelledby="h-receivers">
<h2 id="h-receivers">Receivers</h2>
<ul class="findings">
% for name, each in receivers.items():
% failing = each and (each.failing_since or each.given_up)
<li>\\
% include('mark.tpl', state='error' if failing else 'queued' if each and each.waiting else 'completed')
<span><a href="/alerts?{{query(receiver=name)}}"{{!' aria-current="true"' if name == receiver else ''}}>{{name}}</a>
% if each and each.failing_since:
has accepted no alert since {{!clock.time(each.failing_since)}}; {{'1 waits and is' if each.waiting == 1 else '%d wait and are' % each.waiting}} sent again: <bdi>{{each.error}}</bdi>
% elif each and each.waiting:
has {{each.waiting}} waiting alert{{'s' if each.waiting > 1 else ''}}.
% end
% if each and each.given_up:
{{each.given_up}} could not be delivered in the last week: <bdi>{{each.error}}</bdi>
% end
</span></li>
% end
</ul>
<p class="hint">Alerts are sent of: {{', '.join(events) or 'nothing'}}. <code>hermes-oscron notify test</code> sends a test to each receiver; the settings are in <code>{{settings}}</code>.</p>
</section>
<section class="card spaced" aria-labelledby="h-alerts">
<h2 id="h-alerts">{{'Last alerts to ' + receiver if receiver else 'Last alerts'}}</h2>
% if rows:
<div class="scroll"><table class="runs">
<thead><tr><th scope="col">Time</th><th scope="col">State</th><th scope="col">To</th><th scope="col">Sent</th><th scope="col">Alert</th></tr></thead>
<tbody>
% for each in rows:
<tr><td data-label="Time">{{!clock.time(each.delivery.alert.created)}}</td>
<td data-label="State"><span class="outcome">\\
% include('mark.tpl', state=each.mark)
{{each.state}}</span></td>
<td data-label="To">{{each.delivery.alert.target}}</td>
<td data-label="Sent">{{!clock.time(each.at) if each.state == 'sent' else ''}}</td>
<td data-label="Alert" class="reason">\\
% if each.path:
<a href="{{each.path}}"><bdi>{{each.title}}</bdi></a>\\
% else:
<bdi>{{each.title}}</bdi>\\
% end
% if each.text:
<br><bdi class="muted">{{each.text}}</bdi>\\
% end
% if each.delivery.error:
<br><bdi class="undelivered">Not delivered: {{each.delivery.error}}</bdi>\\
% end
</td></tr>
% end
</tbody></table></div>
% else:
<p class="empty">No alerts in the last week. What happened before a receiver was set is not sent.</p>
% end
% if before or earlier or receiver:
<nav class="pages" aria-label="Pages of alerts">
% if before or receiver:
<a href="/alerts">All, newest first</a>
% end
% if earlier:
<a rel="next" href="/alerts?{{query(receiver=receiver, before=earlier)}}">Earlier</a>
% end
</nav>
% end
</section>
% end
</div>
