// The progress bar, or plain lines where standard output is no terminal. NO_COLOR is honoured. Not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace archive {

class Progress {
   public:
    struct Numbers {
        std::size_t files = 0;
        std::size_t done = 0;
        std::int64_t executed = 0;
        std::int64_t replayed = 0;
        std::int64_t kills = 0;
        int workers = 0;
    };

    Progress();
    /// Shows the numbers: redraws the bar, or writes a line at every tenth of the files.
    void show(const Numbers& numbers);
    /// A line that stays.
    void say(const std::string& line);
    /// The last state of the bar stays, and what follows begins on a line of its own.
    void finish();
    /// A line in colour: red for something wrong, green for success.
    void good(const std::string& line);
    void bad(const std::string& line);

   private:
    std::string paint(const char* code, const std::string& text) const;

    bool terminal_;
    bool colour_;
    bool bar_shown_ = false;
    std::string last_bar_;
    std::size_t next_line_at_ = 0;
};

}  // namespace archive
