% rebase('base.tpl', title='New job' if view is None else 'Edit ' + view['name'], here='new' if view is None else '')
<nav class="crumbs" aria-label="Where this is"><a href="/">Overview</a>
% if view is not None:
 / {{profile}} / <a href="{{back}}"><bdi>{{view['name']}}</bdi></a>
% end
</nav>
<h1>
% if view is None:
New job
% else:
Edit <bdi>{{view['name']}}</bdi>
% end
</h1>
% if error:
<p class="problem" role="alert"><bdi>{{error}}</bdi>{{!' <a href="#f-%s">Go to the field</a>' % wrong if wrong else ''}}</p>
% end
<form class="job" method="post" action="{{action}}">
<input type="hidden" name="csrf" value="{{form_token}}">
<section class="card">
% if view is None and len(profiles) > 1:
<div class="field choice"><label for="f-profile_of_job">Profile</label><select id="f-profile_of_job" name="profile_of_job">
% for name in profiles:
<option{{!' selected' if name == profile else ''}}>{{name}}</option>
% end
</select></div>
% else:
<input type="hidden" name="profile_of_job" value="{{profile}}">
% end
% include('field.tpl', each=fields['name'], listed='')
<div class="field"><label for="f-schedule">Schedule</label>
<div class="with-button"><input id="f-schedule" name="schedule" value="{{fields['schedule'].value}}" data-explain="explained" aria-describedby="explained"{{!' aria-invalid="true" autofocus' if wrong == 'schedule' else ''}} autocomplete="off" spellcheck="false"{{!' required' if view is None else ''}} maxlength="4096"><button class="quiet" name="explain" value="1" formnovalidate>Explain</button></div>
<div id="explained" aria-live="polite">
% include('explain.tpl')
</div></div>
% include('field.tpl', each=fields['prompt'], listed='')
<div class="row">
% include('field.tpl', each=fields['script'], listed='scripts')
% include('field.tpl', each=fields['repeat'], listed='')
</div>
% include('field.tpl', each=fields['no_agent'], listed='')
% if 'paused' in fields:
<div class="row">
% include('field.tpl', each=fields['paused'], listed='')
% include('field.tpl', each=fields['paused_reason'], listed='')
</div>
% end
</section>
% for title, inputs in groups:
<details class="card" id="g-{{title.split()[0].lower()}}"{{!' open' if error and (not wrong or wrong in [each.name for each in inputs]) else ''}}><summary>{{title}}</summary>
<div class="row">
% for each in inputs:
% include('field.tpl', each=each, listed={'deliver': 'targets', 'failure_deliver': 'targets', 'monitor_script': 'scripts', 'profile': 'profiles'}.get(each.name, ''))
% end
</div></details>
% end
<datalist id="l-scripts">
% for each in scripts:
<option value="{{each}}"></option>
% end
</datalist>
<datalist id="l-targets">
% for value, name in targets.items():
<option value="{{value}}">{{name}}</option>
% end
</datalist>
<datalist id="l-profiles">
% for each in profiles:
<option value="{{each}}"></option>
% end
</datalist>
<div class="actions"><button>{{'Create the job' if view is None else 'Save'}}</button><a class="button quiet" href="{{back}}">Cancel</a></div>
</form>
