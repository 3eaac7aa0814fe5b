% if unavailable:
<p class="problem" role="alert">Nothing fires: {{unavailable}}</p>
% end
% if disarmed:
<p class="problem" role="alert">The jobs are disarmed since {{!clock.time(disarmed)}}. <code>hermes-oscron arm</code> arms them again.</p>
% end
% for sentence in problems:
<p class="problem" role="alert"><bdi>{{sentence}}</bdi></p>
% end
