//! Whether the API server answers now. However many clients ask, it is asked at most once a second.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use kube::Client;
use tokio::time::{Instant, timeout};

use super::reads;

/// How long an answer is good.
const REUSE: Duration = Duration::from_secs(1);
/// An API server that takes longer is as good as lost.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What is asked.
pub trait Question: Send + Sync + 'static {
    /// Asks the API server something small. The error says in one line what is wrong.
    fn ask(&self) -> impl Future<Output = Answer> + Send;
}

type Answer = Result<(), String>;

impl Question for Client {
    async fn ask(&self) -> Answer {
        reads::version(self).await.map_err(|error| error.to_string())
    }
}

/// A question whose answers are shared by everyone who asks at about the same time. All clones share them.
pub struct Probe<Q> {
    question: Arc<Q>,
    latest: Arc<Mutex<Option<Attempt>>>,
}

/// A question that was asked, answered or not yet.
#[derive(Clone)]
struct Attempt {
    started: Instant,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl Attempt {
    /// An answer is reused for a while, counted from the question. An attempt without an answer is joined, unless its time
    /// is over: nobody drives one whose clients have all left.
    fn is_current(&self, now: Instant) -> bool {
        let age = now.duration_since(self.started);
        age < REUSE || (self.answer.peek().is_none() && age < PROBE_TIMEOUT)
    }
}

impl<Q: Question> Probe<Q> {
    /// Has not asked yet.
    pub fn new(question: Q) -> Self {
        Self { question: Arc::new(question), latest: Arc::default() }
    }

    /// The answer, which is at most a second old. The error says in one line what is wrong.
    pub async fn ask(&self) -> Result<(), String> {
        self.attempt(Instant::now()).answer.await
    }

    fn attempt(&self, now: Instant) -> Attempt {
        // The value is replaced as a whole, so it is sound even if a holder of the lock panicked.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attempt) = latest.as_ref().filter(|attempt| attempt.is_current(now)) {
            return attempt.clone();
        }
        let attempt = Attempt { started: now, answer: ask(Arc::clone(&self.question)).boxed().shared() };
        latest.insert(attempt).clone()
    }
}

async fn ask(question: Arc<impl Question>) -> Answer {
    timeout(PROBE_TIMEOUT, question.ask())
        .await
        .unwrap_or_else(|_| Err(format!("Kubernetes has not answered within {PROBE_TIMEOUT:?}")))
}

impl<Q> Clone for Probe<Q> {
    fn clone(&self) -> Self {
        Self { question: Arc::clone(&self.question), latest: Arc::clone(&self.latest) }
    }
}

impl<Q> Debug for Probe<Q> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Probe").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::time::advance;

    use super::*;

    /// Says what the test tells it to, and counts the questions.
    #[derive(Clone)]
    struct Fake {
        questions: Arc<AtomicUsize>,
        /// `None`: there is no answer.
        answer: Arc<Mutex<Option<Answer>>>,
    }

    impl Fake {
        fn new(answer: Option<Answer>) -> Self {
            Self { questions: Arc::default(), answer: Arc::new(Mutex::new(answer)) }
        }

        fn questions(&self) -> usize {
            self.questions.load(Ordering::SeqCst)
        }
    }

    impl Question for Fake {
        async fn ask(&self) -> Answer {
            self.questions.fetch_add(1, Ordering::SeqCst);
            let answer = self.answer.lock().unwrap().clone();
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_shared_for_a_second() {
        let fake = Fake::new(Some(Ok(())));
        let probe = Probe::new(fake.clone());
        let answers = join_all((0..100).map(|_| probe.ask())).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(fake.questions(), 1);

        *fake.answer.lock().unwrap() = Some(Err("gone".to_owned()));
        advance(Duration::from_millis(999)).await;
        assert_eq!((probe.ask().await, fake.questions()), (Ok(()), 1));
        advance(Duration::from_millis(1)).await;
        assert_eq!((probe.ask().await, fake.questions()), (Err("gone".to_owned()), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_is_an_answer_after_three_seconds() {
        let fake = Fake::new(None);
        let probe = Probe::new(fake.clone());
        let before = Instant::now();
        let (first, late) = (pin!(probe.ask()), async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            probe.ask().await
        });
        let (first, late) = tokio::join!(first, late);
        let expected = Err("Kubernetes has not answered within 3s".to_owned());
        assert_eq!((&first, &late), (&expected, &expected));
        assert_eq!((before.elapsed(), fake.questions()), (Duration::from_secs(3), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_everyone_left_is_asked_again() {
        let fake = Fake::new(None);
        let probe = Probe::new(fake.clone());
        assert!(probe.ask().now_or_never().is_none());
        advance(Duration::from_secs(3)).await;
        assert!(probe.ask().now_or_never().is_none());
        assert_eq!(fake.questions(), 2);
    }
}
