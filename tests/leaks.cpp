// At the end of every test process: no thread, file descriptor or connection (which is a descriptor) is left that was not there
// at its beginning. The first test after which one stays is named.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

namespace dbos::test {
namespace {

namespace fs = std::filesystem;

/// What a process holds: descriptor or thread id → what it is.
using Held = std::map<std::string, std::string>;

Held descriptors() {
    Held held;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
        std::error_code gone;  // the directory's own descriptor
        const auto target = fs::read_symlink(entry.path(), gone);
        if (gone) continue;
#ifdef DBOS_UNDER_TSAN
        if (target.native().starts_with("pipe:")) continue;  // to the sanitizer's symbolizer
#endif
        held.emplace(entry.path().filename(), target);
    }
    return held;
}

Held threads() {
    Held held;
    for (const auto& entry : fs::directory_iterator("/proc/self/task"))
        held.emplace(entry.path().filename(), "thread");
    return held;
}

class Leaks final : public ::testing::Environment {
   public:
    void SetUp() override {
#ifdef DBOS_UNDER_TSAN
        // The sanitizer begins a thread of its own beside the first one of the program.
        std::thread([] {}).join();
        while (threads().size() > 2) std::this_thread::yield();
#endif
        descriptors_ = descriptors();
        threads_ = threads();
    }
    void after(const ::testing::TestInfo& test) {
        // A thread that has been joined may still be on its way out of the kernel's list: only what stays is counted, at the
        // end; this is to name the test.
        const std::size_t now = descriptors().size() + threads().size();
        if (now > most_) {
            most_ = now;
            grown_ = std::string(test.test_suite_name()) + "." + test.name();
        }
    }
    void TearDown() override {
        for (int look = 0;
             look < 100 && !(left(descriptors_, descriptors()).empty() && left(threads_, threads()).empty());
             ++look) {
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
        EXPECT_EQ(left(descriptors_, descriptors()), "") << "descriptors are left; most after " << grown_;
        EXPECT_EQ(left(threads_, threads()), "") << "threads are left; most after " << grown_;
    }

   private:
    static std::string left(const Held& before, const Held& now) {
        std::string text;
        if (now.size() <= before.size()) return text;
        for (const auto& [key, what] : now) {
            if (!before.contains(key)) text += key + " " + what + "; ";
        }
        return text;
    }

    Held descriptors_;
    Held threads_;
    std::size_t most_ = 0;
    std::string grown_;
};

// Both of GoogleTest's lists own what they are given.
[[maybe_unused]] const bool kRegistered = [] {
    class Listener final : public ::testing::EmptyTestEventListener {
       public:
        explicit Listener(Leaks& leaks) : leaks_(leaks) {}
        void OnTestEnd(const ::testing::TestInfo& test) override { leaks_.after(test); }

       private:
        Leaks& leaks_;
    };
    auto* const leaks = new Leaks;
    ::testing::AddGlobalTestEnvironment(leaks);
    ::testing::UnitTest::GetInstance()->listeners().Append(new Listener(*leaks));
    return true;
}();

}  // namespace
}  // namespace dbos::test
