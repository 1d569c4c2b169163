// A real OpenID provider (npm oidc-provider) on the loopback interface, for the tests of token authentication.
//
// usage: node server.mjs SECONDS      ends by itself after SECONDS, or when its standard input closes
//
// Prints one line of JSON when it is ready: {"issuer": "http://127.0.0.1:PORT"}. Besides the provider's own endpoints:
//   POST /test/sign-in?user=NAME      code flow with PKCE, the way a browser goes; answers with the tokens
//   POST /test/rotate                 a new signing key beside the old ones
//   POST /test/withdraw               a new signing key instead of the old ones
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const RESOURCE = 'urn:tollgate';
const CALLBACK = 'http://127.0.0.1/callback';
const claims = { 'custom:orgId': 'acme', 'custom:appId': 'chat', 'custom:userRole': 'developer' };

let issuer;
let keys = [];
let handle;
let generation = 0;

async function newKeys() {
  generation += 1;
  const make = async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${generation}` };
  };
  return [await make('RS256'), await make('ES256')];
}

const client = (id, alg) => ({
  client_id: id,
  client_secret: `${id}-secret`,
  grant_types: ['client_credentials', 'authorization_code', 'refresh_token'],
  redirect_uris: [CALLBACK],
  response_types: ['code'],
  id_token_signed_response_alg: alg,
});

function restart() {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [client('rsa', 'RS256'), client('ec', 'ES256')],
    cookies: { keys: ['test'] },
    claims: { openid: ['sub', ...Object.keys(claims)], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, ...claims }),
    }),
    extraTokenClaims: () => claims,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, __, asked) => ({
          scope: 'openid email',
          audience: RESOURCE,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg: asked.clientId === 'ec' ? 'ES256' : 'RS256' } },
        }),
      },
    },
    interactions: { url: (_, interaction) => `/test/interaction/${interaction.uid}` },
    ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Grant: 600, Interaction: 600, Session: 600 },
  });
  const callback = provider.callback();
  handle = async (request, response) => {
    if (!request.url.startsWith('/test/interaction/')) return callback(request, response);
    const { prompt, params } = await provider.interactionDetails(request, response);
    if (prompt.name === 'login') {
      return provider.interactionFinished(request, response, { login: { accountId: params.login_hint } });
    }
    const grant = new provider.Grant({ accountId: params.login_hint, clientId: params.client_id });
    grant.addOIDCScope('openid email');
    grant.addResourceScope(RESOURCE, 'openid email');
    return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
  };
}

// Follows the provider's redirects with its cookies until it sends the browser back to the application.
async function signIn(user, clientId) {
  const verifier = randomBytes(32).toString('base64url');
  const challenge = createHash('sha256').update(verifier).digest('base64url');
  const ask = new URLSearchParams({
    client_id: clientId, redirect_uri: CALLBACK, response_type: 'code', scope: 'openid email', login_hint: user,
    code_challenge: challenge, code_challenge_method: 'S256', prompt: 'login consent', nonce: 'n',
  });
  let at = `${issuer}/auth?${ask}`;
  const jar = new Map();
  for (let hop = 0; hop < 10 && !at.startsWith(CALLBACK); hop += 1) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(at, { redirect: 'manual', headers: { cookie } });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      jar.set(name, value);
    }
    const next = answer.headers.get('location');
    if (!next) throw new Error(`stuck at ${at}: ${answer.status} ${await answer.text()}`);
    at = new URL(next, issuer).href;
  }
  const code = new URL(at).searchParams.get('code');
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${clientId}:${clientId}-secret`)}` },
    body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: CALLBACK, code_verifier: verifier }),
  });
  return answer.json();
}

const server = createServer(async (request, response) => {
  try {
    const url = new URL(request.url, issuer);
    const reply = (value) => response.setHeader('content-type', 'application/json').end(JSON.stringify(value));
    switch (url.pathname) {
      case '/test/sign-in':
        return reply(await signIn(url.searchParams.get('user'), url.searchParams.get('client') ?? 'rsa'));
      case '/test/rotate':
        keys = [...(await newKeys()), ...keys];
        restart();
        return reply({ generation });
      case '/test/withdraw':
        keys = await newKeys();
        restart();
        return reply({ generation });
      default:
        return await handle(request, response);
    }
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
});

server.listen(0, '127.0.0.1', async () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  keys = await newKeys();
  restart();
  console.log(JSON.stringify({ issuer }));
});
setTimeout(() => process.exit(0), Number(process.argv[2] ?? 60) * 1000);
process.stdin.on('end', () => process.exit(0)).resume();
