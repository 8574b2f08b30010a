// The parts of the archive that know nothing of workflows.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "executions.hpp"
#include "files.hpp"
#include "options.hpp"
#include "sidelog.hpp"

namespace archive {
namespace {

namespace fs = std::filesystem;

class Directory : public testing::Test {
   public:
    Directory() {
        std::string name = (fs::temp_directory_path() / "archive-test-XXXXXX").native();
        root = ::mkdtemp(name.data());
    }
    ~Directory() override { fs::remove_all(root); }
    fs::path file(const std::string& name, const std::string& text) const {
        fs::create_directories((root / name).parent_path());
        std::ofstream(root / name, std::ios::binary) << text;
        return root / name;
    }
    fs::path root;
};

std::vector<std::string> names(const std::vector<FoundFile>& files) {
    std::vector<std::string> result;
    result.reserve(files.size());
    for (const FoundFile& found : files) result.push_back(found.path);
    return result;
}

using Walking = Directory;

TEST_F(Walking, FindsRegularFilesInOrderOfTheirPath) {
    file("b/two", "2");
    file("a name with blanks", "1");
    file("b/\xC3\xA4\nx", "");
    const Walk found = walk(root, root / "out", false);
    EXPECT_EQ(names(found.files), (std::vector<std::string>{"a name with blanks", "b/two", "b/\xC3\xA4\nx"}));
    EXPECT_EQ(found.files[1].size, 1);
    EXPECT_TRUE(found.skipped.empty());
}

TEST_F(Walking, ReportsWhatItDoesNotArchive) {
    file("real", "x");
    file("latin-\xE4", "x");
    fs::create_symlink("real", root / "link");
    ASSERT_EQ(::mkfifo((root / "pipe").c_str(), 0600), 0);
    const Walk found = walk(root, {}, false);
    EXPECT_EQ(names(found.files), std::vector<std::string>{"real"});
    ASSERT_EQ(found.skipped.size(), 3U);
    for (const NotArchived& entry : found.skipped) {
        if (entry.path == "link") {
            EXPECT_EQ(entry.reason, "a symbolic link");
        }
        if (entry.path == "pipe") {
            EXPECT_EQ(entry.reason, "not a regular file");
        }
        if (entry.path.starts_with("latin")) {
            EXPECT_EQ(entry.path, "latin-\\xe4");
            EXPECT_EQ(entry.reason, "its name is not UTF-8");
        }
    }
}

TEST_F(Walking, LeavesOutTheOutputAndOnRequestBuildTrees) {
    file("src/a.cpp", "x");
    file("out/manifest.json", "x");
    file(".git/HEAD", "x");
    file("other-build/CMakeCache.txt", "x");
    EXPECT_EQ(names(walk(root, root / "out", true).files), std::vector<std::string>{"src/a.cpp"});
    EXPECT_EQ(walk(root, root / "out", false).files.size(), 3U);
}

using Streams = Directory;

std::string big_text() {
    std::string text;
    for (int i = 0; text.size() < (5U << 20); ++i)
        text += std::to_string(i * 7919) + (i % 3 == 0 ? "\n" : " ");
    return text;
}

TEST_F(Streams, WhatIsCompressedDecompressesToTheSameHash) {
    int number = 0;
    for (const std::string& text :
         {std::string(), std::string("x"), big_text(), std::string(3U << 20, 'a')}) {
        const fs::path source = file("source" + std::to_string(++number), text);
        const Stamp stamp = *stamp_of(source);
        const fs::path object = root / ("object" + std::to_string(number));
        const std::string hash = hash_source(source, stamp);
        EXPECT_EQ(hash, sha256_of(text));
        const CompressedFile compressed = compress(source, stamp, object);
        EXPECT_EQ(compressed.source_sha256, hash);
        EXPECT_EQ(compressed.object_sha256, hash_file(object));
        EXPECT_EQ(compressed.object_size, static_cast<std::int64_t>(fs::file_size(object)));
        const Content content = content_of_object(object);
        EXPECT_EQ(content.sha256, hash);
        EXPECT_EQ(content.size, stamp.size);
    }
    EXPECT_EQ(sha256_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(Streams, DamagedAndCutOffObjectsAreRefused) {
    const fs::path source = file("source", big_text());
    const fs::path object = root / "object";
    compress(source, *stamp_of(source), object);
    std::string bytes = read_file(object);
    file("cut", bytes.substr(0, bytes.size() - 3));
    EXPECT_THROW(content_of_object(root / "cut"), std::runtime_error);
    file("none", "");
    EXPECT_THROW(content_of_object(root / "none"), std::runtime_error);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    file("flipped", bytes);
    EXPECT_THROW(content_of_object(root / "flipped"), std::runtime_error);
}

TEST_F(Streams, VanishedAndChangedSourcesAreToldApart) {
    const fs::path source = file("source", "before");
    const Stamp stamp = *stamp_of(source);
    const auto state = [&] {
        try {
            hash_source(source, stamp);
        } catch (const SourceGone& gone) {
            return gone.state();
        }
        return std::string("as it was");
    };
    EXPECT_EQ(state(), "as it was");
    file("source", "after it");
    EXPECT_EQ(state(), "changed");
    EXPECT_THROW(compress(source, stamp, root / "object"), SourceGone);
    EXPECT_FALSE(fs::exists(root / "object"));
    fs::remove(source);
    EXPECT_EQ(state(), "vanished");
    fs::create_directory(source);
    EXPECT_EQ(state(), "changed");
}

TEST_F(Streams, PublishingMayBeRepeated) {
    const fs::path temporary = file("temporary", "content");
    const std::string hash = hash_file(temporary);
    const fs::path object = root / "objects" / "ab" / "object";
    publish(temporary, object, hash);
    EXPECT_EQ(read_file(object), "content");
    EXPECT_FALSE(fs::exists(temporary));
    publish(temporary, object, hash);
    EXPECT_EQ(read_file(object), "content");
    EXPECT_THROW(publish(temporary, object, sha256_of("other")), std::runtime_error);
    EXPECT_THROW(publish(temporary, root / "nothing", hash), std::runtime_error);
}

using Log = Directory;

TEST_F(Log, LinesOfSeveralWritersDoNotMix) {
    const fs::path path = root / "log";
    constexpr int kWriters = 4;
    constexpr int kLines = 500;
    std::vector<std::thread> writers;
    writers.reserve(kWriters);
    for (int writer = 0; writer < kWriters; ++writer) {
        writers.emplace_back([&path, writer] {
            const SideLog log(path);
            for (int i = 0; i < kLines; ++i) {
                log.append({.event = Event::begin,
                            .process = "r." + std::to_string(writer),
                            .pid = writer,
                            .workflow = "w",
                            .step = "write manifest",
                            .execution = "r/" + std::to_string(i),
                            .rest = "two\nlines"});
            }
        });
    }
    for (std::thread& writer : writers) writer.join();
    LogReader reader(path);
    const std::vector<Record> records = reader.read();
    ASSERT_EQ(records.size(), static_cast<std::size_t>(kWriters * kLines));
    EXPECT_EQ(records.front().step, "write_manifest");
    EXPECT_EQ(records.front().rest, "two\\x0alines");
    EXPECT_TRUE(reader.read().empty());
}

TEST_F(Log, ALineWithoutItsEndIsLeftForTheNextTime) {
    file("log", "1 start r.1 7 - - - \n2 beg");
    LogReader reader(root / "log");
    EXPECT_EQ(reader.read().size(), 1U);
    std::ofstream(root / "log", std::ios::app) << "in r.1 7 w hash r.1/1 \n";
    const auto records = reader.read();
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].event, Event::begin);
    EXPECT_EQ(records[0].execution, "r.1/1");
    std::ofstream(root / "log", std::ios::app) << "nonsense\n";
    EXPECT_THROW(reader.read(), std::runtime_error);
}

// A short history in which `r.1` is killed in the middle of "hash", and `r.2` does it again.
class History : public testing::Test {
   public:
    void add(Event event, const std::string& process, const std::string& execution = {},
             const std::string& rest = {}) {
        state.add({.event = event,
                   .process = process,
                   .pid = 1,
                   .workflow = "w",
                   .step = "hash",
                   .execution = execution,
                   .rest = rest});
    }
    std::vector<std::string> violations() {
        Findings findings;
        check_executions(state, recorded, findings);
        repeats = findings.repeats;
        return findings.violations;
    }
    LogState state;
    Recorded recorded;
    std::size_t repeats = 0;
};

TEST_F(History, ARepeatOfAStepInFlightAtAKillIsFine) {
    add(Event::start, "r.1");
    add(Event::begin, "r.1", "r.1/1");
    add(Event::kill, "r.1", {}, "1");
    add(Event::begin, "r.2", "r.2/1");
    add(Event::end, "r.2", "r.2/1");
    recorded.steps[{"w", "hash"}] = "r.2/1";
    recorded.finished = {"w"};
    EXPECT_EQ(violations(), std::vector<std::string>{});
    EXPECT_EQ(repeats, 1U);
    EXPECT_EQ(state.kills(), 1);
    EXPECT_EQ(state.executed(), 1);
}

TEST_F(History, AStepThatEndedAndWasKilledBeforeItsCheckpointMayRepeat) {
    add(Event::begin, "r.1", "r.1/1");
    add(Event::end, "r.1", "r.1/1");
    add(Event::exit, "r.1", {}, "signal 9");
    add(Event::begin, "r.2", "r.2/1");
    add(Event::end, "r.2", "r.2/1");
    recorded.steps[{"w", "hash"}] = "r.2/1";
    EXPECT_EQ(violations(), std::vector<std::string>{});
    EXPECT_EQ(state.kills(), 0);  // nothing was in flight
}

TEST_F(History, AStepThatRanAgainAfterItsCheckpointIsAViolation) {
    add(Event::begin, "r.1", "r.1/1");
    add(Event::end, "r.1", "r.1/1");
    add(Event::kill, "r.1", {}, "1");
    add(Event::begin, "r.2", "r.2/1");
    add(Event::end, "r.2", "r.2/1");
    recorded.steps[{"w", "hash"}] = "r.1/1";
    EXPECT_EQ(violations().size(), 1U);
}

TEST_F(History, ARepeatBesideALivingProcessIsAViolation) {
    add(Event::begin, "r.1", "r.1/1");
    add(Event::begin, "r.2", "r.2/1");
    add(Event::end, "r.2", "r.2/1");
    recorded.steps[{"w", "hash"}] = "r.2/1";
    EXPECT_EQ(violations().size(), 1U);
    add(Event::kill, "r.1", {}, "1");  // too late
    EXPECT_EQ(violations().size(), 1U);
}

TEST_F(History, ARepeatInTheSameProcessIsAViolationUnlessItFailed) {
    add(Event::begin, "r.1", "r.1/1");
    add(Event::fail, "r.1", "r.1/1", "no");
    add(Event::begin, "r.1", "r.1/2");
    add(Event::end, "r.1", "r.1/2");
    recorded.steps[{"w", "hash"}] = "r.1/2";
    EXPECT_EQ(violations(), std::vector<std::string>{});
    EXPECT_EQ(repeats, 0U);
    add(Event::begin, "r.1", "r.1/3");
    add(Event::exit, "r.1", {}, "exit code 0");
    recorded.steps[{"w", "hash"}] = "r.1/3";
    EXPECT_EQ(violations().size(), 1U);
}

TEST_F(History, CheckpointsAndExecutionsMustMatch) {
    add(Event::begin, "r.1", "r.1/1");
    add(Event::end, "r.1", "r.1/1");
    EXPECT_EQ(violations(), std::vector<std::string>{});  // not finished: the checkpoint may be missing
    recorded.finished = {"w"};
    EXPECT_EQ(violations().size(), 1U);
    recorded.steps[{"w", "hash"}] = "";  // recorded as failed
    EXPECT_EQ(violations().size(), 1U);
    recorded.steps[{"w", "hash"}] = "r.1/1";
    recorded.steps[{"w", "publish"}] = "r.1/2";
    EXPECT_EQ(violations().size(), 1U);
}

using CommandLine = Directory;

TEST_F(CommandLine, IsReadAndRefusedWithASentence) {
    const std::string in = root / "in";
    const std::string out = root / "deep" / "out";
    fs::create_directory(in);
    const Options options = parse_options(
        {in, out, "--workers", "5", "--kill-after", "7", "--no-restart", "--db", "sqlite:///x"});
    EXPECT_EQ(options.directory, fs::canonical(in));
    EXPECT_EQ(options.out, fs::canonical(root) / "deep" / "out");
    EXPECT_EQ(options.workers, 5);
    EXPECT_EQ(options.kill_after, 7);
    EXPECT_FALSE(options.restart);
    EXPECT_FALSE(fs::exists(root / "deep"));

    const fs::path here = fs::current_path();
    fs::current_path(root);
    EXPECT_EQ(parse_options({"in", "not/yet/"}).out, fs::canonical(root) / "not" / "yet");
    EXPECT_EQ(parse_options({"in/../in/", "./out"}).directory, fs::canonical(in));
    fs::current_path(here);

    const auto refusal = [](const std::vector<std::string>& arguments) -> std::string {
        try {
            parse_options(arguments);
        } catch (const std::exception& error) {
            return error.what();
        }
        return "accepted";
    };
    EXPECT_EQ(refusal({root / "none", out}), "the directory " + (root / "none").native() + " does not exist");
    file("plain", "x");
    EXPECT_EQ(refusal({root / "plain", out}), (root / "plain").native() + " is not a directory");
    EXPECT_NE(refusal({in, root / "plain" / "out"}).find("is not a directory"), std::string::npos);
    EXPECT_EQ(refusal({in, in}), "OUT must be another directory than DIRECTORY");
    EXPECT_EQ(refusal({in}), "DIRECTORY and OUT are needed; --help shows how");
    EXPECT_NE(refusal({in, out, "--workers", "0"}).find("from 1 to 64"), std::string::npos);
    EXPECT_NE(refusal({in, out, "--workers", "3x"}).find("not \"3x\""), std::string::npos);
    EXPECT_NE(refusal({in, out, "--db"}).find("needs a value"), std::string::npos);
    EXPECT_NE(refusal({in, out, "--wokers"}).find("unknown option --wokers"), std::string::npos);
}

TEST(Text, Utf8) {
    for (const char* good : {"", "abc", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"})
        EXPECT_TRUE(is_utf8(good)) << good;
    for (const char* bad :
         {"\xE4", "\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE0\x80\x80", "\x80"})
        EXPECT_FALSE(is_utf8(bad));
    EXPECT_EQ(printable("a\nb"), "a\\x0ab");
    EXPECT_EQ(printable("\xC3\xA4"), "\xC3\xA4");
}

}  // namespace
}  // namespace archive
