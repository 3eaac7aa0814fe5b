% if explanation:
<p class="words"><bdi>{{explanation.words}}</bdi></p>
<ol class="times">
% for moment in explanation.times:
<li>{{!clock.time(moment.timestamp(), 'full')}} {{!clock.ago(moment.timestamp())}}</li>
% end
</ol>
% for line in explanation.armed:
<code class="line">{{line}}</code>
% end
% for warning in explanation.warnings:
<p class="problem warn"><bdi>{{warning}}</bdi></p>
% end
% elif refused:
<p class="problem"><bdi>{{refused}}</bdi></p>
% if forms:
<p class="uses">Use:
% for each in forms:
<button type="button" class="quiet" data-use="{{each}}">{{each}}</button>
% end
</p>
% end
% else:
<p class="hint">Write it in words, like <code>weekdays at 9:30</code>, <code>every 2h</code>, <code>in 30m</code> or <code>2027-03-15 09:00</code>, or as a cron expression like <code>0 9 * * 1-5</code>.</p>
% end
