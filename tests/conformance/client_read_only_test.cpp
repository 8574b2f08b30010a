// A client whose user may read the SQLite file and not write it: a sentence that says so, and nothing is written.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "support/client_rows.hpp"
#include "sysdb/schema/migrate.hpp"

namespace dbos::test {
namespace {

inline constexpr auto Work = workflow<void()>("work");

class ReadOnlyFile : public testing::Test {
   public:
    void SetUp() override {
        auto options = sql::OpenOptions{};
        options.url = sql::Url::parse(url());
        sysdb::migrate(options);
        ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
    }
    std::string path() const { return (directory_.path() / "shop.sqlite").string(); }
    std::string url() const { return "sqlite:///" + path(); }
    void protect(mode_t file, mode_t directory) {
        ASSERT_EQ(::chmod(path().c_str(), file), 0);
        ASSERT_EQ(::chmod(directory_.path().c_str(), directory), 0);
    }
    /// What a client under another user was told; the child writes it into a pipe.
    std::string refusal() {
        int ends[2];
        EXPECT_EQ(::pipe(ends), 0);
        const pid_t child = ::fork();
        if (child == 0) {
            std::string text = "nothing was refused";
            if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) text = "setuid failed";
            try {
                ClientOptions options;
                options.system_database_url = url();
                options.log_sink = [](const LogRecord&) {};
                Client client(options);
                client.enqueue(Work, {.queue_name = "q"});
            } catch (const DatabaseError& error) {
                text = (error.kind() == DatabaseErrorKind::read_only ? "read_only: " : "other kind: ") +
                       std::string(error.what());
            } catch (const std::exception& error) {
                text = std::string("other error: ") + error.what();
            }
            (void)!::write(ends[1], text.data(), text.size());
            ::_exit(0);
        }
        ::close(ends[1]);
        std::string text;
        char buffer[4096];
        for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
            text.append(buffer, static_cast<std::size_t>(got));
        ::close(ends[0]);
        int status = 0;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
        return text;
    }
    std::string count() {
        protect(0644, 0755);
        auto options = sql::OpenOptions{};
        options.url = sql::Url::parse(url());
        return sql::open(options)->query("SELECT count(*) FROM workflow_status").at(0, 0).string();
    }
    void expect_clear(const std::string& text) {
        EXPECT_EQ(text.rfind("read_only: ", 0), 0u) << text;
        EXPECT_NE(text.find(path()), std::string::npos) << text;
        EXPECT_NE(text.find("writable"), std::string::npos) << text;
        EXPECT_EQ(count(), "0");
    }

   private:
    TemporaryDirectory directory_;
};

TEST_F(ReadOnlyFile, the_file_alone) {
    protect(0444, 0777);
    expect_clear(refusal());
}

TEST_F(ReadOnlyFile, the_file_and_its_directory) {
    protect(0444, 0555);
    expect_clear(refusal());
}

TEST_F(ReadOnlyFile, the_directory_alone) {
    protect(0666, 0555);
    expect_clear(refusal());
}

TEST_F(ReadOnlyFile, while_its_application_runs) {
    auto options = sql::OpenOptions{};
    options.url = sql::Url::parse(url());
    const auto application = sql::open(options);
    application->query("UPDATE dbos_migrations SET version = version", {}, sql::Access::write);
    protect(0644, 0755);
    expect_clear(refusal());
    // The same with a file that everybody may write, but whose log belongs to the application.
    protect(0666, 0755);
    expect_clear(refusal());
}

}  // namespace
}  // namespace dbos::test
