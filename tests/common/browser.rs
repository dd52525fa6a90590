// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A headless Chromium, driven over a pipe by its debugging protocol.
#![allow(dead_code)] // each test file uses its part

use serde_json::{json, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::Duration;

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Longest wait for an answer; a loaded machine starts a browser slowly.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    next: u64,
    session: String,
    /// Exceptions, console errors, refused resources.
    pub complaints: Vec<String>,
    /// Addresses that were asked for.
    pub requests: Vec<String>,
}

/// The installed browser.
pub fn installed() -> &'static str {
    let works = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    NAMES.iter().find(works).expect("no Chromium is installed; `tools/setup.sh test` installs it")
}

impl Browser {
    /// Starts the browser with an empty profile in `dir`.
    pub fn start(name: &str, dir: &Path) -> Browser {
        let (to, from) = (dir.join("to"), dir.join("from"));
        for pipe in [&to, &from] {
            let made = Command::new("mkfifo").arg(pipe).status().expect("mkfifo starts");
            assert!(made.success());
        }
        let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-dev-shm-usage \
                     --disable-background-networking --disable-component-update --disable-sync --remote-debugging-pipe";
        let script = format!("exec {name} {flags} --user-data-dir=\"$2\" about:blank 3<\"$0\" 4>\"$1\"");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).args([&to, &from]).arg(dir.join("profile"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh starts");
        let to = File::options().write(true).open(&to).expect("the pipe to the browser");
        let from = listen(File::open(&from).expect("the pipe from the browser"));
        let mut browser = Browser {
            child,
            to,
            from,
            next: 0,
            session: String::new(),
            complaints: vec![],
            requests: vec![],
        };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("a session").into();
        for domain in ["Runtime.enable", "Log.enable", "Network.enable", "Page.enable"] {
            browser.ask(domain, json!({}));
        }
        browser
    }

    /// Sends a command and waits for its result.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser listens");
        loop {
            let answer = self.receive();
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    fn receive(&mut self) -> Value {
        let message = self.from.recv_timeout(PATIENCE).expect("the browser answers");
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] != "log" => {
                self.complaints.push(params.to_string())
            }
            Some("Log.entryAdded") => self.complaints.push(params["entry"].to_string()),
            Some("Network.requestWillBeSent") => {
                self.requests.push(params["request"]["url"].as_str().unwrap_or_default().into())
            }
            _ => {}
        }
        message
    }

    /// Width and height in CSS pixels, and whether the system is set to dark.
    pub fn screen(&mut self, width: u32, height: u32, dark: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", features);
    }

    /// Loads a file and waits until it is there.
    pub fn open(&mut self, page: &Path) {
        self.requests.clear();
        self.ask("Page.navigate", json!({"url": format!("file://{}", page.display())}));
        while self.receive()["method"] != "Page.loadEventFired" {}
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let result = self.ask("Runtime.evaluate", json!({"expression": expression, "returnByValue": true}));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    pub fn number(&mut self, expression: &str) -> f64 {
        let value = self.value(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}"))
    }

    pub fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().map(str::to_string).unwrap_or_else(|| panic!("{expression} is {value}"))
    }

    /// A mouse event at a place of the window: `mouseMoved`, `mousePressed`, `mouseReleased`, `mouseWheel`.
    pub fn mouse(&mut self, kind: &str, (x, y): (f64, f64), more: Value) {
        let mut event = json!({"type": kind, "x": x, "y": y});
        for (key, value) in more.as_object().expect("an object") {
            event[key] = value.clone();
        }
        self.ask("Input.dispatchMouseEvent", event);
    }

    /// Middle of the first element that a selector finds, after scrolling to it.
    pub fn middle(&mut self, selector: &str) -> (f64, f64) {
        let script = format!(
            "(() => {{ const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'center'}}); \
             const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        );
        let at = self.value(&script);
        (at[0].as_f64().expect("x"), at[1].as_f64().expect("y"))
    }

    /// A picture of the whole page as base64 PNG.
    pub fn picture(&mut self) -> String {
        let shot = self.ask("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        shot["data"].as_str().expect("a picture").into()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The messages, each ended by a zero byte, as they come.
fn listen(from: File) -> Receiver<Value> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut bytes = vec![];
        while reader.read_until(0, &mut bytes).is_ok_and(|n| n > 0) {
            bytes.pop();
            let message = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            if send.send(message).is_err() {
                break;
            }
            bytes.clear();
        }
    });
    receive
}
