//! Entries end as the rules say, beside a plain map that says when each was written; whatever is
//! forgotten, repeated or interrupted meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use holdall_core::Timestamp;
use holdall_testkit::Chance;
use holdall_testkit::sim::seeds;

use super::bed::{Bed, name, noise, policy};
use super::story;
use crate::Condition;
use crate::format::policy::{LifecycleRule, Policy};
use crate::gc::{GcOptions, LifecycleState};
use crate::volume::Volume;
use crate::write::PutOptions;

const MINUTE: Duration = Duration::from_secs(60);

/// What the model knows of an entry.
#[derive(Clone, Debug)]
struct Written {
    at: Timestamp,
    size: u64,
    kind: &'static str,
}

type Model = BTreeMap<String, Written>;

fn rules(chance: &mut Chance) -> Vec<LifecycleRule> {
    let rule = |chance: &mut Chance| LifecycleRule {
        prefix: (*chance.pick(&["", "a/", "b/", "a/1"]).unwrap()).to_owned(),
        attributes: match chance.index(3) {
            0 => [("kind".to_owned(), "log".to_owned())].into(),
            _ => BTreeMap::new(),
        },
        larger: chance.happens(300).then_some(50),
        smaller: chance.happens(300).then_some(150),
        expire: Some(MINUTE * (1 + chance.index(40) as u32)),
    };
    (0..chance.index(4)).map(|_| rule(chance)).collect()
}

/// Whether the rules have ended this by now, said once more and differently.
fn has_ended(rules: &[LifecycleRule], text: &str, written: &Written, now: Timestamp) -> bool {
    rules.iter().any(|rule| {
        let is_kind = rule.attributes.get("kind").is_none_or(|kind| kind == written.kind);
        let is_large = rule.larger.is_none_or(|bytes| written.size > bytes);
        let is_small = rule.smaller.is_none_or(|bytes| written.size < bytes);
        let is_old = now >= written.at.plus(rule.expire.unwrap());
        text.starts_with(&rule.prefix) && is_kind && is_large && is_small && is_old
    })
}

async fn work(volume: &Volume, model: &mut Model, chance: &mut Chance) {
    let text = format!("{}/{}", chance.pick(&["a", "b"]).unwrap(), chance.below(12));
    if chance.happens(200) {
        volume.delete(&name(text.as_str()), Condition::Always).await.unwrap();
        model.remove(&text);
        return;
    }
    let kind = *chance.pick(&["log", "photo"]).unwrap();
    let size = chance.below(200);
    let options = PutOptions::default().attribute("kind", kind);
    let put = volume.put(&name(text.as_str()), noise(size, size as usize), options).await.unwrap();
    model.insert(text, Written { at: put.time, size, kind });
}

/// Steps until there is nothing more to do, now and then forgetting what was done.
async fn follow(volume: &Volume, state: &mut Option<LifecycleState>, chance: &mut Chance) {
    loop {
        let (_, next, more) = volume.lifecycle_step(state.clone()).await.unwrap();
        match chance.index(20) {
            // Killed before it could be noted.
            0 => {}
            // Its row was lost.
            1 => *state = None,
            _ => {
                *state = Some(next);
                if !more {
                    return;
                }
            }
        }
    }
}

#[test]
fn entries_end_as_the_rules_say() {
    seeds(40, |seed| {
        story(seed, |env| async move {
            let mut chance = Chance::new(seed);
            let rules_now = rules(&mut chance);
            let policy = Policy { lifecycle: rules_now.clone(), ..policy() };
            let (bed, volume) = Bed::create(env, policy.clone()).await;
            let (mut model, mut state, mut rules_now) = (Model::new(), None, rules_now);
            for _ in 0..12 {
                for _ in 0..chance.below(12) {
                    work(&volume, &mut model, &mut chance).await;
                    bed.env.sleep(Duration::from_secs(chance.below(60))).await;
                }
                if chance.happens(250) {
                    rules_now = rules(&mut chance);
                    let lifecycle = rules_now.clone();
                    volume.set_policy(Policy { lifecycle, ..policy.clone() }).await.unwrap();
                }
                bed.env.sleep(MINUTE * chance.below(15) as u32).await;
                if chance.happens(200) {
                    // The feed's rows go too, so that it is read from the log.
                    volume.seal().await.unwrap();
                    let feed = Some(Duration::ZERO);
                    volume.gc(GcOptions { feed, ..GcOptions::default() }).await.unwrap();
                }
                let before = bed.env.now();
                follow(&volume, &mut state, &mut chance).await;
                let after = bed.env.now();
                let entries = bed.show(&volume).await.entries;
                // What ends while it is looked may be there or not.
                for (text, written) in &model {
                    let there = entries.contains_key(text);
                    assert!(!(there && has_ended(&rules_now, text, written, before)), "{text}");
                    assert!(there || has_ended(&rules_now, text, written, after), "{text}");
                }
                assert!(entries.keys().all(|text| model.contains_key(text)));
                model.retain(|text, _| entries.contains_key(text));
            }
            bed.verify().await;
        });
    });
}

#[test]
fn nothing_is_walked_once_the_rules_are_known() {
    story(1, |env| async move {
        let expire = Some(MINUTE);
        let tmp = LifecycleRule { prefix: "tmp/".to_owned(), expire, ..Default::default() };
        let (bed, volume) = Bed::create(env, Policy { lifecycle: vec![tmp], ..policy() }).await;
        for n in 0..20 {
            let options = PutOptions::default();
            volume.put(&name(format!("kept/{n}")), noise(n, 10), options).await.unwrap();
        }
        let mut state = None;
        let mut swept = 0;
        loop {
            let (report, next, more) = volume.lifecycle_step(state).await.unwrap();
            swept += report.swept;
            state = Some(next);
            if !more {
                break;
            }
        }
        assert_eq!(swept, 20);
        volume.put(&name("tmp/a"), noise(1, 10), PutOptions::default()).await.unwrap();
        for (minutes, ended) in [(0, 0), (2, 1)] {
            bed.env.sleep(MINUTE * minutes).await;
            loop {
                let (report, next, more) = volume.lifecycle_step(state).await.unwrap();
                assert_eq!(report.swept, 0);
                state = Some(next);
                if !more {
                    assert_eq!(report.ended, ended);
                    break;
                }
            }
        }
        assert_eq!(volume.usage().await.unwrap().entries, 20);
        assert!(bed.rows('t').await.is_empty());
    });
}
