% is_wrong = each.name == wrong
% notes = ' '.join(['hint-' + each.name] * bool(each.hint) + ['error-' + each.name] * is_wrong)
% described = ('aria-describedby="%s"' % notes if notes else '') + (' aria-invalid="true" autofocus' if is_wrong else '')
% default = 'Default: ' * bool(each.default) + each.default
<div class="field {{each.kind}}">
% if each.kind == 'check':
<label class="check"><input type="checkbox" id="f-{{each.name}}" name="{{each.name}}" value="yes"{{!' checked' if each.value == 'yes' else ''}} {{!described}}> {{each.label}}</label>
% else:
<label for="f-{{each.name}}">{{each.label}}</label>
% if each.kind == 'choice':
<select id="f-{{each.name}}" name="{{each.name}}" {{!described}}>
% for choice in each.choices:
<option value="{{choice}}"{{!' selected' if choice == each.value else ''}}>{{choice or default or 'Default'}}</option>
% end
</select>
% elif each.kind in ('long', 'table'):
<textarea id="f-{{each.name}}" name="{{each.name}}" rows="{{10 if each.kind == 'long' else 3}}" dir="auto" {{!described}} placeholder="{{default}}">
{{each.value}}</textarea>
% else:
<input id="f-{{each.name}}" name="{{each.name}}" value="{{each.value}}" dir="auto" autocomplete="off" {{!described}} placeholder="{{default}}"{{!' list="l-%s"' % listed if listed else ''}}>
% end
% end
% if is_wrong:
<p class="problem" id="error-{{each.name}}"><bdi>{{error}}</bdi></p>
% end
% if each.hint:
<p class="hint" id="hint-{{each.name}}">{{each.hint}}{{' Separate several by commas.' if each.kind == 'list' else ''}}</p>
% end
</div>
