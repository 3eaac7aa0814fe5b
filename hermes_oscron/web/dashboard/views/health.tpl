<dl class="facts">
<dt>Scheduler</dt><dd>{{scheduler}}</dd>
<dt>Last sync</dt><dd>{{!clock.ago(synced) if synced else 'never'}}</dd>
<dt>Checked</dt><dd>
% if report.at:
{{!clock.ago(report.at)}}\\
% elif report.running:
being checked\\
% else:
not yet\\
% end
</dd>
</dl>
% if report.at and not report.findings:
<p class="well">
% include('mark.tpl', state='completed')
No problems found.</p>
% elif report.findings:
<ul class="findings">
% for finding in report.findings[:limit]:
<li class="{{finding.severity}}">
% include('mark.tpl', state='error' if finding.severity == 'problem' else 'timeout')
<span><b class="hidden">{{finding.severity}}: </b><bdi>{{finding.sentence}}</bdi></span></li>
% end
</ul>
% end
% if limit < len(report.findings):
<p class="more"><a href="/checks">{{len(report.findings) - limit}} more</a></p>
% end
