% rebase('base.tpl', title='Log in')
<section class="card narrow">
<h1>Log in</h1>
% if error:
<p class="problem" role="alert">{{error}}</p>
% end
<form method="post" action="/login">
<input type="hidden" name="next" value="{{next}}">
<input type="text" name="username" value="token" autocomplete="username" hidden>
<label for="password">Token</label>
<input id="password" type="password" name="password" autocomplete="current-password" required autofocus aria-describedby="hint">
<p class="hint" id="hint"><code>hermes-oscron token</code> prints it on the server.</p>
<button>Log in</button>
</form>
</section>
