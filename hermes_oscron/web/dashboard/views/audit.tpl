% rebase('base.tpl', title='Audit', here='audit')
<h1>Audit</h1>
<section class="card spaced">
<p>Every time at which a job was due has one row in the ledger, also if it was skipped or missed. The audit compares the ledger with the schedules that each job has had.</p>
<form action="/audit"><button name="run" value="1">{{'Audit again' if asked else 'Audit now'}}</button></form>
</section>
% for sentence in problems:
<p class="problem" role="alert"><bdi>{{sentence}}</bdi></p>
% end
% if asked:
% wrong = [(home, result, each) for home, result in results for each in result.discrepancies]
<section class="card spaced" aria-labelledby="h-result">
<h2 id="h-result">Result</h2>
<p class="well">
% include('mark.tpl', state='error' if wrong else 'completed')
{{sum(each.occurrences for _, each in results)}} occurrences of {{len(results)}} jobs and {{sum(each.rows for _, each in results)}} rows: \\
% if wrong:
{{len(wrong)}} are wrong or missing.\\
% else:
each occurrence has one row.\\
% end
</p>
% if wrong:
<div class="scroll"><table class="runs">
<thead><tr><th scope="col">Time</th><th scope="col">Job</th><th scope="col">Kind</th><th scope="col">Reason</th></tr></thead>
<tbody>
% for home, result, each in wrong[:1000]:
<tr><td data-label="Time">{{!clock.time(each.time)}}</td><td data-label="Job"><a href="/jobs/{{home.profile}}/{{result.job}}">{{home.profile}}:{{result.job}}</a></td><td data-label="Kind">{{each.kind}}</td><td data-label="Reason">{{each.sentence}}</td></tr>
% end
</tbody></table></div>
% end
</section>
% end
