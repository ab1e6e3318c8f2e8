//! Exact match of a container's answers, measured with the Rust engine itself.
//!
//! `candor-train-eval CONTAINER QUESTIONS.json [REPORT.json]` answers every question of `questions.py` at temperature 0 and again at
//! temperature 1 (the API's default), max_tokens 64, and prints the share of answers equal to the expected text, by kind.
//! It stops if the engine tokenises a prompt differently from the trainer. `candor-train-eval CONTAINER --ask QUESTION...` answers.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use candor_engine::{Decoding, Finish, Model, Options, Special, chat, generate, seed_from_integer};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct Question {
    kind: String,
    topic: String,
    system: Option<String>,
    question: String,
    answer: Option<String>,
    #[serde(skip_serializing)]
    prompt: Vec<u32>,
    #[serde(default)]
    got: String,
}

fn prompt(model: &Model, system: Option<&str>, question: &str) -> Vec<u32> {
    let tokenizer = model.tokenizer();
    let mut out = vec![tokenizer.special(Special::Begin)];
    for (role, text) in [(Special::System, system), (Special::User, Some(question))] {
        if let Some(text) = text {
            out.push(tokenizer.special(role));
            tokenizer.encode(text, &mut out);
            out.push(tokenizer.special(Special::End));
        }
    }
    out.push(tokenizer.special(Special::Assistant));
    out
}

fn answer(model: &Model, prompt: &[u32], temperature_e6: u32, seed: i64) -> (String, Finish, u32) {
    let decoding = Decoding { seed: seed_from_integer(seed), temperature_e6, top_p_e6: 1_000_000, top_k: 0, max_tokens: 64, stop: vec![] };
    let out = generate(model, prompt, &decoding, &Options::default(), &mut |_| ControlFlow::Continue(())).expect("generates");
    (out.text, out.finish, out.usage.completion_tokens)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let bytes = std::fs::read(&args[0]).expect("container");
    let model = Model::load(&bytes).expect("a valid container");
    let digest: String = model.digest().iter().map(|b| format!("{b:02x}")).collect();
    println!("digest {digest}, {} bytes", bytes.len());
    if args[1] == "--ask" {
        for question in &args[2..] {
            // The way of a real request: body in, frames out.
            let body = serde_json::json!({"model": "candor-mini-1", "messages": [{"role": "user", "content": question}], "temperature": 0});
            let frames = chat::replay(&model, body.to_string().as_bytes(), [0; 32], "chatcmpl-0", 0).expect("answers");
            let frame: serde_json::Value = serde_json::from_slice(&frames[0]).expect("a frame is JSON");
            let choice = &frame["choices"][0];
            println!("> {question}\n{} [{}]", choice["message"]["content"].as_str().unwrap_or_default(), choice["finish_reason"]);
        }
        return;
    }

    let mut questions: Vec<Question> = serde_json::from_slice(&std::fs::read(&args[1]).expect("questions")).expect("questions.json");
    for q in &questions {
        assert_eq!(prompt(&model, q.system.as_deref(), &q.question), q.prompt, "tokens of {:?}", q.question);
    }
    println!("tokens of {} prompts equal", questions.len());
    questions.retain(|q| q.answer.is_some());

    let (mut tokens, mut longest, start) = (0u64, 0, Instant::now());
    let mut score: BTreeMap<(String, bool), (u32, u32)> = BTreeMap::new();
    let mut wrong: BTreeMap<String, u32> = BTreeMap::new();
    let mut canonical: BTreeMap<String, ()> = questions.iter().filter_map(|q| q.answer.clone()).map(|a| (a, ())).collect();
    canonical.insert(String::new(), ());
    let mut strange = 0;
    for (i, q) in questions.iter_mut().enumerate() {
        for sampled in [false, true] {
            let (text, finish, used) = answer(&model, &q.prompt, if sampled { 1_000_000 } else { 0 }, i as i64);
            tokens += q.prompt.len() as u64 + u64::from(used);
            longest = longest.max(used);
            let right = finish == Finish::Stop && Some(&text) == q.answer.as_ref();
            let entry = score.entry((q.kind.clone(), sampled)).or_default();
            entry.0 += u32::from(right);
            entry.1 += 1;
            if !sampled {
                strange += u32::from(!canonical.contains_key(&text));
                if !right {
                    *wrong.entry(q.topic.clone()).or_default() += 1;
                }
                q.got = text;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    for ((kind, sampled), (right, all)) in &score {
        let percent = f64::from(*right) * 100.0 / f64::from(*all);
        println!("{kind:8} temperature {} {right}/{all} = {percent:.1} %", u8::from(*sampled));
    }
    println!("greedy answers that are none of the trained answers: {strange}; longest answer {longest} tokens");
    println!("{tokens} tokens in {seconds:.1} s = {:.0} tokens/s on one thread", tokens as f64 / seconds);
    let mut worst: Vec<_> = wrong.into_iter().collect();
    worst.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    println!("wrong by topic: {:?}", &worst[..worst.len().min(25)]);
    if let Some(path) = args.get(2) {
        questions.retain(|q| Some(&q.got) != q.answer.as_ref());
        std::fs::write(path, serde_json::to_string_pretty(&questions).expect("serialises")).expect("report");
    }
}
