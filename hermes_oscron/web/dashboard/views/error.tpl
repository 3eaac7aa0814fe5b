% rebase('base.tpl', title='Error', here='')
<section class="card narrow">
<h1>{{heading}}</h1>
<p><bdi>{{sentence}}</bdi></p>
<p><a href="{{back}}">Back</a></p>
</section>
