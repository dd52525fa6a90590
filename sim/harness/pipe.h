// SPDX-License-Identifier: Apache-2.0 OR MIT
// pipe.h : little-endian numbers and texts in from stdin, out to what stdout was at the start. Replies are collected and
// sent when a message is complete, so that a large reply cannot block a large request.
#pragma once
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the pipe protocol is written for little-endian machines");

class Pipe {
  public:
    // From here on stdout is stderr: what the design prints cannot disturb the protocol.
    Pipe() : out(dup(STDOUT_FILENO)) { dup2(STDERR_FILENO, STDOUT_FILENO); }

    // False at the end of the input.
    bool more() {
        int c = getchar();
        if (c == EOF) return false;
        ungetc(c, stdin);
        return true;
    }
    template <class T>
    T get() {
        T value;
        bytes(&value, sizeof value);
        return value;
    }
    std::string text() {
        std::string s(get<uint32_t>(), '\0');
        if (!s.empty()) bytes(&s[0], s.size());
        return s;
    }
    void bytes(void* to, size_t n) {
        if (fread(to, 1, n, stdin) != n) exit(0);  // the other side is gone
    }
    template <class T>
    void put(T value) {
        put(&value, sizeof value);
    }
    void put(const void* from, size_t n) {
        const uint8_t* p = static_cast<const uint8_t*>(from);
        reply.insert(reply.end(), p, p + n);
    }
    void text(const std::string& s) {
        put<uint32_t>(s.size());
        put(s.data(), s.size());
    }
    void send() {
        for (size_t at = 0; at < reply.size();) {
            ssize_t n = write(out, &reply[at], reply.size() - at);
            if (n <= 0) exit(0);
            at += n;
        }
        reply.clear();
    }

  private:
    int out;
    std::vector<uint8_t> reply;
};
