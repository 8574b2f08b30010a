// read_stream and its kin; wait_first and wait_all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ranges>
#include <thread>

#include "dbos/types.hpp"
#include "support/client_rows.hpp"

namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

class ClientStreams : public dbos::test::ClientTest {
   public:
    void write(const std::string& id, const std::string& key, int offset, const std::string& value,
               const std::string& format = "portable_json") {
        insert("streams",
               {{"workflow_uuid", id},
                {"key", key},
                {"value", value},
                {"\"offset\"", offset},
                {"serialization", format.empty() ? dbos::test::Cell(nullptr) : dbos::test::Cell(format)}});
    }
    std::vector<int> read(const std::string& id, const std::string& key,
                          dbos::ReadStreamOptions options = {}) {
        std::vector<int> values;
        for (const int& value : client().read_stream<int>(id, key, options)) values.push_back(value);
        return values;
    }
    std::vector<int> read_async(const std::string& id, const std::string& key,
                                dbos::ReadStreamOptions options = {}) {
        std::vector<int> values;
        auto stream = client().read_stream_async<int>(id, key, options);
        while (const auto value = stream.next().get()) values.push_back(*value);
        return values;
    }
};
DBOS_FOR_EVERY_DATABASE(ClientStreams);

TEST_P(ClientStreams, values_come_in_order_until_the_stream_is_closed) {
    insert_workflow("w", "PENDING");
    for (int i = 0; i < 3; ++i) write("w", "s", i, std::to_string(i * 10));
    write("w", "s", 3, "\"__DBOS_STREAM_CLOSED__\"");
    write("w", "other", 0, "7");
    EXPECT_THAT(read("w", "s"), ElementsAre(0, 10, 20));
    EXPECT_THAT(read_async("w", "s"), ElementsAre(0, 10, 20));
    EXPECT_THAT(read("w", "s", {.offset = 2}), ElementsAre(20));
    EXPECT_THAT(read("w", "s", {.offset = 3}), ElementsAre());
    std::vector<int> taken;
    for (const int value : client().read_stream<int>("w", "s") | std::views::take(2)) taken.push_back(value);
    EXPECT_THAT(taken, ElementsAre(0, 10));
}

TEST_P(ClientStreams, every_end_marker_ends_it) {
    insert_workflow("w", "PENDING");
    write("w", "go", 0, "1");
    write("w", "go", 1, "__DBOS_STREAM_CLOSED__", "");
    write("w", "go", 2, "2");
    write("w", "json", 0, "1");
    write("w", "json", 1, "\"__DBOS_STREAM_\\u0043LOSED__\"");
    for (const char* key : {"go", "json"}) EXPECT_THAT(read("w", key), ElementsAre(1)) << key;
    auto stream = client().read_stream_async<int>("w", "go");
    EXPECT_EQ(stream.next().get(), 1);
    EXPECT_EQ(stream.next().get(), std::nullopt);
    EXPECT_EQ(stream.next().get(), std::nullopt);
}

TEST_P(ClientStreams, it_ends_with_its_workflow_when_nobody_closed_it) {
    insert_workflow("w", "SUCCESS");
    write("w", "s", 0, "1");
    EXPECT_THAT(read("w", "s"), ElementsAre(1));
    EXPECT_THAT(read("w", "none"), ElementsAre());
    EXPECT_THAT(read_async("w", "none"), ElementsAre());
    EXPECT_THAT(read("w", "s", {.offset = 100}), ElementsAre());
}

TEST_P(ClientStreams, an_unknown_workflow_is_an_error) {
    EXPECT_THROW(read("nobody", "s"), dbos::NonexistentWorkflow);
    EXPECT_THROW(read_async("nobody", "s"), dbos::NonexistentWorkflow);
}

TEST_P(ClientStreams, long_ones_and_big_values_come_in_pages) {
    insert_workflow("w", "SUCCESS");
    constexpr int kValues = 250;
    for (int i = 0; i < kValues; ++i) write("w", "s", i, std::to_string(i));
    const std::string big = '"' + std::string(700'000, 'x') + '"';
    for (int i = 0; i < 4; ++i) write("w", "big", i, big);
    const std::vector<int> values = read("w", "s");
    ASSERT_EQ(values.size(), static_cast<std::size_t>(kValues));
    for (int i = 0; i < kValues; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i);
    int count = 0;
    for (const auto& value : client().read_stream<std::string>("w", "big")) {
        EXPECT_EQ(value.size(), 700'000u);
        ++count;
    }
    EXPECT_EQ(count, 4);
}

TEST_P(ClientStreams, values_are_waited_for) {
    insert_workflow("w", "PENDING");
    auto stream = client().read_stream_async<int>("w", "s");
    auto first = stream.next();
    EXPECT_FALSE(first.wait_for(50ms));
    EXPECT_THROW(stream.next(), dbos::UsageError);  // one at a time
    write("w", "s", 0, "1");
    EXPECT_EQ(first.get(), 1);
    auto second = stream.next();
    EXPECT_FALSE(second.wait_for(50ms));
    end("w", "SUCCESS", "1");
    EXPECT_EQ(second.get(), std::nullopt);

    insert_workflow("v", "PENDING");
    std::vector<int> values;
    std::thread reader([&] { values = read("v", "s"); });
    for (int i = 0; i < 3; ++i) write("v", "s", i, std::to_string(i));
    write("v", "s", 3, "\"__DBOS_STREAM_CLOSED__\"");
    reader.join();
    EXPECT_THAT(values, ElementsAre(0, 1, 2));
}

TEST_P(ClientStreams, a_value_that_does_not_come_in_time_can_be_waited_for_again) {
    insert_workflow("w", "PENDING");
    auto stream = client().read_stream<int>("w", "s", {.timeout = 0s});
    EXPECT_THROW(stream.next(), dbos::StreamTimeout);
    write("w", "s", 0, "5");
    EXPECT_EQ(stream.next(), 5);
    auto later = client().read_stream_async<int>("w", "s", {.offset = 1, .timeout = 20ms});
    EXPECT_THROW(later.next().get(), dbos::StreamTimeout);
    write("w", "s", 1, "6");
    EXPECT_EQ(later.next().get(), 6);
}

TEST_P(ClientStreams, one_value_by_its_offset) {
    insert_workflow("w", "PENDING");
    write("w", "s", 0, "\"a\"");
    write("w", "s", 1, "\"b\"");
    EXPECT_EQ(client().read_stream_offset<std::string>("w", "s", 1), "b");
    EXPECT_EQ(client().read_stream_offset_async<std::string>("w", "s", 0).get(), "a");
    EXPECT_THROW(client().read_stream_offset("w", "s", 2, {.timeout = 0s}), dbos::StreamTimeout);
    write("w", "s", 2, "\"__DBOS_STREAM_CLOSED__\"");
    // At once, without a timeout: the stream has ended before.
    EXPECT_THROW(client().read_stream_offset("w", "s", 2), dbos::StreamTimeout);
    EXPECT_THROW(client().read_stream_offset_async("w", "s", 2).get(), dbos::StreamTimeout);
}

TEST_P(ClientStreams, bad_input_is_refused) {
    EXPECT_THROW(client().read_stream("w", "s", {.offset = -1}), dbos::UsageError);
    EXPECT_THROW(client().read_stream("", "s"), dbos::UsageError);
    EXPECT_THROW(client().read_stream("w", "s", {.polling_interval = 0s}), dbos::UsageError);
    EXPECT_THROW(client().read_stream_async("w", "s", {.timeout = -1s}), dbos::UsageError);
    EXPECT_THROW(client().read_stream_offset("w", "s", -1), dbos::UsageError);
}

TEST_P(ClientStreams, the_first_that_has_ended_is_found) {
    for (const char* id : {"a", "b", "c"}) insert_workflow(id, "PENDING");
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (const char* id : {"a", "b", "c"}) handles.push_back(client().retrieve_workflow<int>(id));
    auto first = client().wait_first_async(handles);
    auto all = client().wait_all_async(handles);
    EXPECT_FALSE(first.wait_for(50ms));
    EXPECT_THROW(client().wait_first(handles, {.timeout = 0s}), dbos::Timeout);
    end("b", "ERROR", std::nullopt, R"({"name":"E","message":"m"})");
    EXPECT_EQ(first.get().workflow_id(), "b");
    EXPECT_EQ(client().wait_first(handles).workflow_id(), "b");
    EXPECT_FALSE(all.ready());
    EXPECT_THROW(client().wait_all(handles, {.timeout = 10ms}), dbos::Timeout);
    end("a", "SUCCESS", "1");
    end("c", "CANCELLED", std::nullopt);
    const auto ended = all.get();
    ASSERT_EQ(ended.size(), 3u);
    EXPECT_EQ(ended[0].get_result(), 1);
    EXPECT_EQ(client().wait_all(handles).size(), 3u);
    handles.push_back(handles[0]);
    EXPECT_EQ(client().wait_all(handles).size(), 4u);
    EXPECT_THROW(client().wait_first(handles), dbos::UsageError);
    EXPECT_THROW(client().wait_first(std::vector<dbos::WorkflowHandle<int>>{}), dbos::UsageError);
    EXPECT_TRUE(client().wait_all(std::vector<dbos::WorkflowHandle<int>>{}).empty());
    EXPECT_TRUE(client().wait_all_async(std::vector<dbos::WorkflowHandle<int>>{}).get().empty());
}

TEST_P(ClientStreams, one_look_sees_the_end_of_any) {
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (int n = 0; n < 60; ++n) {
        const std::string id = "w" + std::to_string(n);
        insert_workflow(id, "PENDING");
        handles.push_back(client().retrieve_workflow<int>(id));
    }
    end("w59", "SUCCESS", "1");
    for (int round = 0; round < 10; ++round) {
        EXPECT_EQ(client().wait_first(handles, {.timeout = 0s}).workflow_id(), "w59");
        EXPECT_EQ(client().wait_first_async(handles, {.timeout = 0s}).get().workflow_id(), "w59");
    }
}

TEST_P(ClientStreams, a_deleted_workflow_does_not_win) {
    for (const char* id : {"a", "b"}) insert_workflow(id, "PENDING");
    std::vector<dbos::WorkflowHandle<int>> handles;
    for (const char* id : {"a", "b"}) handles.push_back(client().retrieve_workflow<int>(id));
    auto first = client().wait_first_async(handles, {.polling_interval = 10ms});
    auto all = client().wait_all_async(handles, {.polling_interval = 10ms});
    EXPECT_FALSE(first.wait_for(50ms));
    execute("DELETE FROM @workflow_status WHERE workflow_uuid = 'a'");
    EXPECT_THROW(all.get(), dbos::NonexistentWorkflow);
    EXPECT_FALSE(first.ready());
    end("b", "SUCCESS", "1");
    EXPECT_EQ(first.get().workflow_id(), "b");
}

}  // namespace
