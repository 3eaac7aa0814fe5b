% rebase('base.tpl', title='Health', here='checks')
<h1>Health</h1>
<div id="live" data-live{{' data-poll' if report.running else ''}}>
<section class="card">
% include('health.tpl')
<form method="post" action="/checks"><input type="hidden" name="csrf" value="{{form_token}}"><button{{!' disabled' if report.running else ''}}>Check again</button></form>
<p class="hint">The same as <code>hermes-oscron doctor</code>. A problem is watched for some seconds before it is reported.</p>
</section>
</div>
