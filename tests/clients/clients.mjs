// Real clients against the server with the scripted model of tests/server/script.h: `node clients.mjs URL`.
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import Anthropic from '@anthropic-ai/sdk';
import Anthropic0 from 'anthropic-0';
import { Ollama } from 'ollama';
import { generateText, generateObject, streamText, tool, stepCountIs, embedMany } from 'ai';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createAnthropic } from '@ai-sdk/anthropic';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { HumanMessage } from '@langchain/core/messages';
import { z } from 'zod';
import Ajv from 'ajv';
import { check, row, same, thrown, done } from './check.mjs';

const url = process.argv[2], key = process.argv[3] ?? 'any';
const model = 'scripted';
const person = z.object({ name: z.string(), age: z.number() });
const weather = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const user = (content) => [{ role: 'user', content }];
const chatTools = [{ type: 'function', function: { name: 'weather', description: 'of a city', parameters: weather } }];

// Requests inside, by the server's own count.
async function inside() {
    const text = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } })).text();
    return Number(/^hearth_requests_inside (\d+)$/m.exec(text)[1]);
}
async function settles(says) {
    for (let i = 0; i < 50; i++) {
        if (await inside() === 0) { check(true, says); return; }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    check(false, says, `${await inside()} requests go on`);
}

// ---- openai ----
{
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
    await row('openai chat', async (is) => {
        const r = await client.chat.completions.create({ model, messages: user('hello there'), seed: 1, stop: ['x'] });
        is(r.choices[0].message.content === 'hello there', 'content', r);
        is(r.choices[0].finish_reason === 'stop', 'finish', r);
        is(r.usage.prompt_tokens > 0 && r.usage.prompt_tokens_details.cached_tokens === 1, 'usage', r.usage);
    });
    await row('openai chat stream', async (is) => {
        const stream = await client.chat.completions.create({ model, messages: user('think about it'), stream: true,
            stream_options: { include_usage: true } });
        let text = '', thought = '', usage = null, finish = null;
        for await (const chunk of stream) {
            text += chunk.choices[0]?.delta.content ?? '';
            thought += chunk.choices[0]?.delta.reasoning_content ?? '';
            finish = chunk.choices[0]?.finish_reason ?? finish;
            usage = chunk.usage ?? usage;
        }
        is(text === 'think about it' && thought === 'let me see', 'text', { text, thought });
        is(finish === 'stop' && usage?.completion_tokens > 0, 'end', { finish, usage });
    });
    await row('openai stream helper', async (is) => {
        const r = await client.chat.completions.stream({ model, messages: user('call it'), tools: chatTools }).finalChatCompletion();
        const call = r.choices[0].message.tool_calls[0];
        is(call.function.name === 'weather' && JSON.parse(call.function.arguments).city === 'Paris', 'call', call);
        is(call.id.length > 5 && r.choices[0].finish_reason === 'tool_calls', 'id and finish', r);
    });
    await row('openai tool loop', async (is) => {
        const messages = user('call it');
        const first = await client.chat.completions.create({ model, messages, tools: chatTools, tool_choice: 'auto' });
        const call = first.choices[0].message.tool_calls[0];
        messages.push(first.choices[0].message, { role: 'tool', tool_call_id: call.id, content: [{ type: 'text', text: 'rain' }] });
        const second = await client.chat.completions.create({ model, messages, tools: chatTools });
        is(second.choices[0].message.content.startsWith('the tool was heard'), 'second answer', second.choices[0]);
    });
    await row('openai runTools', async (is) => {
        let seen = null;
        const runner = client.chat.completions.runTools({ model, messages: user('call it'), stream: true,
            tools: [{ type: 'function', function: { name: 'weather', parameters: weather, parse: JSON.parse,
                function: (args) => { seen = args.city; return 'rain'; } } }] });
        const text = await runner.finalContent();
        is(seen === 'Paris' && text.startsWith('the tool was heard'), 'loop', { seen, text });
    });
    await row('openai two calls at once', async (is) => {
        const r = await client.chat.completions.create({ model, messages: user('twice'), tools: chatTools });
        const ids = r.choices[0].message.tool_calls.map((c) => c.id);
        is(ids.length === 2 && ids[0] !== ids[1], 'calls', ids);
    });
    await row('openai structured', async (is) => {
        const r = await client.chat.completions.parse({ model, messages: user('who'),
            response_format: zodResponseFormat(person, 'person') });
        is(r.choices[0].message.parsed.age === 36, 'parsed', r.choices[0].message);
    });
    await row('openai n and logprobs', async (is) => {
        const r = await client.chat.completions.create({ model, messages: user('one two'), n: 3, logprobs: true, top_logprobs: 2 });
        is(r.choices.length === 3 && r.choices[2].index === 2, 'choices', r.choices.length);
        is(r.choices[1].logprobs.content.length === 2 && r.choices[1].logprobs.content[0].logprob === -0.5, 'logprobs',
            r.choices[1].logprobs);
    });
    await row('openai n in a stream', async (is) => {
        const text = ['', ''];
        for await (const chunk of await client.chat.completions.create({ model, messages: user('a b'), n: 2, stream: true }))
            for (const c of chunk.choices) text[c.index] += c.delta.content ?? '';
        is(text[0] === 'a b' && text[1] === 'a b', 'texts', text);
    });
    await row('openai length', async (is) => {
        const r = await client.chat.completions.create({ model, messages: user('a b c d e f'), max_completion_tokens: 2 });
        is(r.choices[0].finish_reason === 'length', 'finish', r.choices[0]);
    });
    await row('openai abort', async (is) => {
        const stream = await client.chat.completions.create({ model, messages: user('forever and ever'), stream: true });
        let count = 0;
        for await (const chunk of stream) if (chunk.choices && ++count === 4) break;
        is(count === 4, 'chunks', count);
        await settles('openai: an answer nobody reads has ended');
    });
    await row('openai abort before the first byte', async (is) => {
        const controller = new AbortController();
        setTimeout(() => controller.abort(), 100);
        const error = await thrown(() => client.chat.completions.create({ model, messages: user('forever') },
            { signal: controller.signal }));
        is(error?.name?.includes('Abort') || error?.constructor?.name.includes('Abort'), 'error', String(error));
        await settles('openai: an answer nobody waits for has ended');
    });
    await row('openai errors', async (is) => {
        const missing = await thrown(() => client.chat.completions.create({ model: 'nobody', messages: user('x') }));
        is(missing instanceof OpenAI.NotFoundError && missing.code === 'model_not_found', '404', String(missing));
        const bad = await thrown(() => client.chat.completions.create({ model, messages: user('x'), temperature: 'hot' }));
        is(bad instanceof OpenAI.BadRequestError && bad.param === 'temperature', '400', String(bad));
        const long = await thrown(() => client.chat.completions.create({ model, messages: user('long') }));
        is(long?.code === 'context_length_exceeded' && /9000.*4096/.test(long.message), 'too long', String(long));
        const busy = await thrown(() => client.chat.completions.create({ model, messages: user('busy') }));
        is(busy?.status === 503 && busy.headers.get('retry-after') === '1', 'busy', String(busy));
        const image = await thrown(() => client.chat.completions.create({ model,
            messages: user([{ type: 'image_url', image_url: { url: 'data:,' } }]) }));
        is(image?.status === 400 && image.message.includes('image_url'), 'image', String(image));
        const broken = await thrown(async () => {
            for await (const _ of await client.chat.completions.create({ model, messages: user('break it'), stream: true }));
        });
        is(broken?.message.includes('middle'), 'in a stream', String(broken));
    });
    await row('openai responses', async (is) => {
        const r = await client.responses.create({ model, input: 'hello you', instructions: 'be kind' });
        is(r.output_text === 'hello you' && r.status === 'completed', 'text', r);
        const parsed = await client.responses.parse({ model, input: 'who', text: { format: zodTextFormat(person, 'person') } });
        is(parsed.output_parsed.name === 'Ada', 'parsed', parsed.output_parsed);
        const stored = await thrown(() => client.responses.create({ model, input: 'x', previous_response_id: 'resp_1' }));
        is(stored?.status === 400 && stored.param === 'previous_response_id', 'stored', String(stored));
    });
    await row('openai responses stream', async (is) => {
        const stream = client.responses.stream({ model, input: 'think hello' });
        let text = '';
        stream.on('response.output_text.delta', (e) => { text += e.delta; });
        const r = await stream.finalResponse();
        is(text === 'think hello' && r.output_text === text, 'text', { text, r });
        is(r.output[0].type === 'reasoning' && r.usage.output_tokens > 0, 'output', r.output);
    });
    await row('openai responses tools', async (is) => {
        const tools = [{ type: 'function', name: 'weather', parameters: weather, strict: true }, { type: 'web_search' }];
        const stream = client.responses.stream({ model, input: 'call', tools });
        const r = await stream.finalResponse();
        const call = r.output.find((i) => i.type === 'function_call');
        is(call?.name === 'weather' && call.arguments === '{"city":"Paris"}', 'call', r.output);
        const second = await client.responses.create({ model, tools, input: [{ role: 'user', content: 'call' }, call,
            { type: 'function_call_output', call_id: call.call_id, output: 'rain' }] });
        is(second.output_text.startsWith('the tool was heard'), 'second', second.output_text);
    });
    await row('openai others', async (is) => {
        const text = await client.completions.create({ model, prompt: 'go on' });
        is(text.choices[0].text === 'go on', 'completion', text);
        const e = await client.embeddings.create({ model, input: ['a', 'bb'] });
        is(e.data.length === 2 && Math.abs(e.data[1].embedding[2] - 1) < 1e-6 && e.data[0].embedding.length === 8, 'base64', e.data);
        const f = await client.embeddings.create({ model, input: 'a', encoding_format: 'float' });
        is(f.data[0].embedding[1] === 1, 'float', f.data);
        const list = await client.models.list();
        is(list.data.map((m) => m.id).join() === 'scripted,other', 'models', list.data);
        is((await client.models.retrieve('other')).id === 'other', 'model', '');
    });
}

// ---- anthropic, both generations ----
for (const [name, Client] of [['anthropic 1', Anthropic], ['anthropic 0', Anthropic0]]) {
    const client = new Client({ baseURL: url, apiKey: key, maxRetries: 0 });
    const max_tokens = 100;
    const tools = [{ name: 'weather', description: 'of a city', input_schema: weather }];
    await row(`${name} messages`, async (is) => {
        const r = await client.messages.create({ model, max_tokens, system: [{ type: 'text', text: 'be kind', cache_control: { type: 'ephemeral' } }],
            messages: user([{ type: 'text', text: 'hello there' }]) });
        is(r.content[0].text === 'hello there' && r.stop_reason === 'end_turn', 'answer', r);
        is(r.usage.cache_read_input_tokens === 1 && r.usage.output_tokens > 0, 'usage', r.usage);
        const count = await client.messages.countTokens({ model, messages: user('hello there') });
        is(count.input_tokens > 0, 'count', count);
        const models = await client.models.list();
        is(models.data[0].id === model, 'models', models.data);
    });
    await row(`${name} stream`, async (is) => {
        const stream = client.messages.stream({ model, max_tokens, messages: user('think of hope') });
        let text = '';
        stream.on('text', (t) => { text += t; });
        const r = await stream.finalMessage();
        is(text === 'think of hope' && r.content[0].thinking === 'let me see' && r.content[1].text === text, 'blocks', r.content);
    });
    await row(`${name} tools`, async (is) => {
        const messages = user('call');
        const r = await client.messages.stream({ model, max_tokens, tools, messages }).finalMessage();
        const use = r.content.find((b) => b.type === 'tool_use');
        is(use?.name === 'weather' && use.input.city === 'Paris' && r.stop_reason === 'tool_use', 'call', r);
        messages.push({ role: 'assistant', content: r.content },
            { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: [{ type: 'text', text: 'rain' }] }] });
        const second = await client.messages.create({ model, max_tokens, tools, messages });
        is(second.content[0].text.startsWith('the tool was heard'), 'second', second.content);
        const whole = await client.messages.create({ model, max_tokens, tools, messages: user('call'), tool_choice: { type: 'any' } });
        is(whole.content[0].input?.city === 'Paris', 'whole', whole.content);
    });
    await row(`${name} errors and abort`, async (is) => {
        const missing = await thrown(() => client.messages.create({ model: 'nobody', max_tokens, messages: user('x') }));
        is(missing instanceof Client.NotFoundError && missing.error.error.type === 'not_found_error', '404', String(missing));
        const broken = await thrown(() => client.messages.stream({ model, max_tokens, messages: user('break it') }).finalMessage());
        is(String(broken).includes('middle'), 'in a stream', String(broken));
        const stream = client.messages.stream({ model, max_tokens, messages: user('forever') });
        stream.on('text', () => stream.abort());
        await thrown(() => stream.done());
        await settles(`${name}: an aborted answer has ended`);
    });
}

// ---- ollama ----
{
    const client = new Ollama({ host: url, headers: { authorization: `Bearer ${key}` } });
    const tools = chatTools;
    await row('ollama chat', async (is) => {
        const r = await client.chat({ model, messages: user('hello there'), options: { temperature: 0, num_ctx: 4096 } });
        is(r.message.content === 'hello there' && r.done && r.done_reason === 'stop' && r.eval_count > 0, 'answer', r);
        let text = '', thought = '', last = null;
        for await (const part of await client.chat({ model, messages: user('think hello'), stream: true, think: true })) {
            text += part.message.content;
            thought += part.message.thinking ?? '';
            last = part;
        }
        is(text === 'think hello' && thought === 'let me see' && last.done, 'stream', { text, thought });
    });
    await row('ollama tools', async (is) => {
        const r = await client.chat({ model, messages: user('call'), tools });
        is(r.message.tool_calls[0].function.arguments.city === 'Paris', 'whole', r.message);
        const calls = [];
        for await (const part of await client.chat({ model, messages: user('twice'), tools, stream: true }))
            calls.push(...(part.message.tool_calls ?? []));
        is(calls.length === 2 && calls[1].function.arguments.city === 'Paris', 'stream', calls);
        const second = await client.chat({ model, tools, messages: [...user('call'), r.message,
            { role: 'tool', tool_name: 'weather', content: 'rain' }] });
        is(second.message.content.startsWith('the tool was heard'), 'second', second.message);
    });
    await row('ollama others', async (is) => {
        const generated = await client.generate({ model, prompt: 'go on' });
        is(generated.response === 'go on', 'generate', generated);
        let text = '';
        for await (const part of await client.generate({ model, prompt: 'go on', stream: true })) text += part.response;
        is(text === 'go on', 'generate stream', text);
        const shaped = await client.chat({ model, messages: user('who'), format: z.toJSONSchema(person) });
        is(JSON.parse(shaped.message.content).age === 36, 'format', shaped.message);
        const e = await client.embed({ model, input: ['a', 'b'] });
        is(e.embeddings.length === 2 && e.embeddings[0].length === 8, 'embed', e);
        is((await client.list()).models[0].name === model, 'list', '');
        is((await client.ps()).models.length === 2, 'ps', '');
        const show = await client.show({ model });
        is(show.capabilities.includes('tools') && show.model_info['script.context_length'] === 4096, 'show', show);
        is((await client.version()).version === '0.1', 'version', '');
        const missing = await thrown(() => client.chat({ model: 'nobody', messages: user('x') }));
        is(missing?.status_code === 404 && missing.message.includes('not found'), '404', String(missing));
        const broken = await thrown(async () => {
            for await (const _ of await client.chat({ model, messages: user('break it'), stream: true }));
        });
        is(broken?.message.includes('middle'), 'in a stream', String(broken));
        const stream = await client.chat({ model, messages: user('forever'), stream: true });
        setTimeout(() => stream.abort(), 60);
        await thrown(async () => { for await (const _ of stream); });
        await settles('ollama: an aborted answer has ended');
    });
}

// ---- ai, by four providers ----
{
    const providers = {
        'ai openai': createOpenAI({ baseURL: `${url}/v1`, apiKey: key }),
        'ai openai chat': { model: createOpenAI({ baseURL: `${url}/v1`, apiKey: key }).chat },
        'ai compatible': createOpenAICompatible({ name: 'hearth', baseURL: `${url}/v1`, apiKey: key, includeUsage: true, supportsStructuredOutputs: true }),
        'ai anthropic': createAnthropic({ baseURL: `${url}/v1`, apiKey: key }),
    };
    for (const [name, provider] of Object.entries(providers)) {
        const chosen = provider.model ? provider.model(model) : provider(model);
        await row(`${name} text`, async (is) => {
            const r = await generateText({ model: chosen, prompt: 'hello there', maxRetries: 0 });
            is(r.text === 'hello there' && r.finishReason === 'stop', 'whole', { text: r.text, why: r.finishReason });
            const stream = streamText({ model: chosen, prompt: 'think hello', maxRetries: 0 });
            let text = '';
            for await (const part of stream.textStream) text += part;
            is(text === 'think hello' && (await stream.finishReason) === 'stop', 'stream', text);
            is((await stream.usage).outputTokens > 0, 'usage', await stream.usage);
        });
        await row(`${name} tools`, async (is) => {
            const weatherTool = tool({ description: 'of a city', inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `rain in ${city}` });
            const r = await generateText({ model: chosen, prompt: 'call', tools: { weather: weatherTool }, stopWhen: stepCountIs(3), maxRetries: 0 });
            is(r.text.startsWith('the tool was heard'), 'loop', r.text);
            const stream = streamText({ model: chosen, prompt: 'call', tools: { weather: weatherTool }, stopWhen: stepCountIs(3), maxRetries: 0 });
            is((await stream.text).startsWith('the tool was heard'), 'stream', await stream.text);
        });
        await row(`${name} object`, async (is) => {
            const r = await generateObject({ model: chosen, prompt: 'who', schema: person, maxRetries: 0 });
            is(r.object.age === 36, 'object', r.object);
        });
        await row(`${name} errors`, async (is) => {
            const error = await thrown(() => generateText({ model: chosen, prompt: 'long', maxRetries: 0 }));
            is(error?.statusCode === 400 && /9000/.test(error.message), '400', String(error));
            const controller = new AbortController();
            setTimeout(() => controller.abort(), 60);
            await thrown(async () => {
                for await (const _ of streamText({ model: chosen, prompt: 'forever', abortSignal: controller.signal, onError() {} }).textStream);
            });
            await settles(`${name}: an aborted answer has ended`);
        });
    }
    await row('ai embed', async (is) => {
        for (const provider of [providers['ai openai'], providers['ai compatible']]) {
            const e = await embedMany({ model: provider.textEmbeddingModel(model), values: ['a', 'b'] });
            is(e.embeddings.length === 2 && e.embeddings[0].length === 8, 'vectors', e.embeddings);
        }
    });
}

// ---- langchain ----
{
    const chat = new ChatOpenAI({ model, apiKey: key, maxRetries: 0, configuration: { baseURL: `${url}/v1` } });
    await row('langchain', async (is) => {
        is((await chat.invoke('hello there')).content === 'hello there', 'invoke', '');
        let text = '';
        for await (const chunk of await chat.stream('hello you')) text += chunk.content;
        is(text === 'hello you', 'stream', text);
        const bound = chat.bindTools(chatTools);
        const r = await bound.invoke([new HumanMessage('call')]);
        is(r.tool_calls[0]?.args.city === 'Paris', 'tools', r.tool_calls);
        for (const method of ['jsonSchema', 'jsonMode']) {
            const shaped = await chat.withStructuredOutput(person, { method }).invoke('who as json');
            is(shaped.age === 36, method, shaped);
        }
        const error = await thrown(() => chat.invoke('long'));
        is(/9000/.test(String(error)), 'error', String(error));
        const e = new OpenAIEmbeddings({ model, apiKey: key, configuration: { baseURL: `${url}/v1` } });
        const vectors = await e.embedDocuments(['a', 'b']);
        is(vectors.length === 2 && vectors[1].length === 8, 'embeddings', vectors);
        const controller = new AbortController();
        setTimeout(() => controller.abort(), 60);
        await thrown(async () => { for await (const _ of await chat.stream('forever', { signal: controller.signal })); });
        await settles('langchain: an aborted answer has ended');
    });
}

// ---- what is sent as JSON is what was declared ----
{
    const ajv = new Ajv();
    const r = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { authorization: `Bearer ${key}` },
        body: JSON.stringify({ model, messages: user('who'), response_format: { type: 'json_schema', json_schema: { name: 'p', schema: z.toJSONSchema(person) } } }) });
    const body = await r.json();
    check(ajv.validate({ ...z.toJSONSchema(person), $schema: undefined }, JSON.parse(body.choices[0].message.content)), 'ajv agrees', body);
    same((await fetch(`${url}/health`)).status, 200, 'health');
}
done();
