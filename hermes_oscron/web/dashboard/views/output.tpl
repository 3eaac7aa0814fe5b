% rebase('base.tpl', title='Output of ' + job['name'], here='', logged_in=True)
<nav class="crumbs" aria-label="Where this is"><a href="/">Overview</a> / {{home.profile}} / <a href="{{path}}"><bdi>{{job['name']}}</bdi></a></nav>
<h1>Output</h1>
<p class="muted mono">{{filename}}</p>
<nav class="chips views" aria-label="Views">
<a href="?view=rendered"{{!' aria-current="true"' if html is not None else ''}}>Rendered</a>
<a href="?view=plain"{{!' aria-current="true"' if html is None else ''}}>Text</a>
<a href="?view=raw">Raw file</a>
</nav>
% if too_long:
<p class="problem warn">It is too long to be rendered, so it is shown as text.</p>
% end
% if output.left_out:
<p class="problem warn">{{'{:,}'.format(output.left_out)}} characters more are in the raw file.</p>
% end
<section class="card" aria-label="Output">
% if html is not None:
<div class="markdown" dir="auto">{{!html}}</div>
% else:
<pre class="text whole" dir="auto" tabindex="0" aria-label="Text">{{output.response}}</pre>
% end
</section>
<div class="columns">
% if output.heading:
<section class="card" aria-labelledby="h-about"><h2 id="h-about">About this run</h2>
<dl class="facts">
% for name, value in output.heading:
<dt>{{name}}</dt><dd><bdi>{{value}}</bdi></dd>
% end
</dl></section>
% end
% if output.prompt:
<section class="card" aria-labelledby="h-prompt"><h2 id="h-prompt">Prompt</h2>
<pre class="text prompt" dir="auto" tabindex="0" aria-label="Prompt">{{output.prompt}}</pre></section>
% end
</div>
