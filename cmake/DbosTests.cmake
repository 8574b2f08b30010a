# The test suites. A folder tests/SUITE/*.cpp becomes the program SUITE_tests; tests/support/*.cpp is linked into all.
# ctest splits a suite into shards, each one a test with the suite's name as its label and a time-out.

find_package(GTest REQUIRED)
find_package(rapidcheck CONFIG QUIET)
# For the tests of include/dbos/ext/, which are left out where these are missing.
find_package(SQLiteCpp CONFIG QUIET)
find_path(PQXX_INCLUDE_DIR pqxx/pqxx)
find_library(PQXX_LIBRARY pqxx)

file(GLOB support_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.cpp)
add_library(dbos_test_support INTERFACE)
target_include_directories(dbos_test_support INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(dbos_test_support INTERFACE dbos_testable dbos_warnings GTest::gtest GTest::gmock
  nlohmann_json::nlohmann_json PostgreSQL::PostgreSQL SQLite::SQLite3)
target_compile_definitions(dbos_test_support INTERFACE DBOS_TEST_VECTORS="${PROJECT_SOURCE_DIR}/tests/vectors")
if(support_sources)
  add_library(dbos_test_support_objects STATIC ${support_sources})
  target_link_libraries(dbos_test_support_objects PRIVATE dbos_test_support)
endif()

# dbos_add_suite(NAME [SHARDS n] [TIMEOUT seconds] [LIBRARIES …])
function(dbos_add_suite name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SHARDS;TIMEOUT" "LIBRARIES")
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${name}/*.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_tests ${sources} ${PROJECT_SOURCE_DIR}/tests/leaks.cpp)
  target_link_libraries(${name}_tests PRIVATE $<TARGET_NAME_IF_EXISTS:dbos_test_support_objects>
    dbos_test_support GTest::gtest_main ${arg_LIBRARIES})
  if(NOT arg_SHARDS)
    set(arg_SHARDS 1)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(DBOS_SANITIZE)
    math(EXPR arg_TIMEOUT "${arg_TIMEOUT} * 3")
  endif()
  math(EXPR last "${arg_SHARDS} - 1")
  foreach(shard RANGE ${last})
    set(test ${name})
    if(arg_SHARDS GREATER 1)
      math(EXPR number "${shard} + 1")
      set(test ${name}.${number})
    endif()
    add_test(NAME ${test} COMMAND ${name}_tests)
    set_tests_properties(${test} PROPERTIES LABELS ${name} TIMEOUT ${arg_TIMEOUT}
      ENVIRONMENT "GTEST_TOTAL_SHARDS=${arg_SHARDS};GTEST_SHARD_INDEX=${shard};TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp $ENV{TSAN_OPTIONS}")
  endforeach()
endfunction()

dbos_add_suite(unit)
set(ext_libraries)
if(SQLiteCpp_FOUND AND PQXX_INCLUDE_DIR AND PQXX_LIBRARY)
  set(ext_libraries SQLiteCpp ${PQXX_LIBRARY})
endif()
dbos_add_suite(conformance SHARDS 4 TIMEOUT 600 LIBRARIES ${ext_libraries})
if(TARGET conformance_tests)
  # What runs bodies once more, with waits that all park at once.
  add_test(NAME conformance-parked COMMAND conformance_tests
    --gtest_filter=*Runtime.*:*Children.*:*Errors.*:*ReusePolicy.*:*Ownership.*:*Recovery.*:*Receive.*:*Context*:*Transaction*)
  set_tests_properties(conformance-parked PROPERTIES LABELS conformance TIMEOUT 900 ENVIRONMENT
    "DBOS_TEST_PARK_AFTER=0;TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp $ENV{TSAN_OPTIONS}")
endif()
dbos_add_suite(vectors)
dbos_add_suite(docs)   # the programs of the pages
if(DBOS_BUILD_EXAMPLES)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(httplib REQUIRED IMPORTED_TARGET GLOBAL cpp-httplib)
  dbos_add_suite(examples SHARDS 4 LIBRARIES PkgConfig::httplib)   # the demo programs, killed at every step
  target_compile_definitions(examples_tests PRIVATE DBOS_EXAMPLES="${PROJECT_BINARY_DIR}/examples")
  add_dependencies(examples_tests queue-patterns queue-server queue-worker starter toolbox widget-store)
endif()
dbos_add_suite(chaos TIMEOUT 600)
if(TARGET chaos_tests)
  # Stops its server, so it has one of its own.
  add_test(NAME chaos-database-down COMMAND ${PROJECT_SOURCE_DIR}/scripts/with-postgres
    $<TARGET_FILE:chaos_tests> --gtest_filter=*DatabaseDown*)
  set_tests_properties(chaos-database-down PROPERTIES LABELS chaos TIMEOUT 300 ENVIRONMENT "DBOS_TEST_OWN_SERVER=1")
endif()
file(GLOB chaos_pg_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/chaos/pg/*.cpp)
add_executable(dbos_chaos_pg ${chaos_pg_sources})
target_link_libraries(dbos_chaos_pg PRIVATE dbos_test_support_objects dbos_test_support)
# A server of its own, whose commits have times. `make chaos-pg` is the long form. The other one shows that its oracles can fail.
add_test(NAME chaos-pg COMMAND ${PROJECT_SOURCE_DIR}/scripts/with-postgres
  $<TARGET_FILE:dbos_chaos_pg> --seconds 20)
add_test(NAME chaos-pg-oracles COMMAND ${PROJECT_SOURCE_DIR}/scripts/with-postgres
  $<TARGET_FILE:dbos_chaos_pg> --prove)
set_tests_properties(chaos-pg chaos-pg-oracles PROPERTIES LABELS chaos TIMEOUT 600
  ENVIRONMENT "DBOS_POSTGRES_OPTIONS=-c track_commit_timestamp=on")
if(rapidcheck_FOUND)
  dbos_add_suite(property TIMEOUT 600 LIBRARIES rapidcheck)
endif()
# Two processes, one client each, against a model; `make property` is the long form.
file(GLOB client_property_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/property/client/*.cpp)
add_executable(dbos_client_property ${client_property_sources})
target_link_libraries(dbos_client_property PRIVATE dbos_test_support_objects dbos_test_support)
add_test(NAME client-property COMMAND dbos_client_property --operations 2000)
set_tests_properties(client-property PROPERTIES LABELS property TIMEOUT 300)
foreach(folder compile_fail interop)   # suites that build themselves; tests/sim is a build of its own (preset sim)
  if(EXISTS ${PROJECT_SOURCE_DIR}/tests/${folder}/CMakeLists.txt)
    add_subdirectory(${PROJECT_SOURCE_DIR}/tests/${folder} ${PROJECT_BINARY_DIR}/tests/${folder})
  endif()
endforeach()

# Checks of the source text: fast, so they belong to every test run.
foreach(check scripts/check-seam scripts/check-includes scripts/check-client-reference scripts/check-cases scripts/check-errors tests/arch/run)
  string(REGEX REPLACE "^scripts/|/run$" "" name ${check})
  string(REPLACE "/" "-" name ${name})
  add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/${check})
  set_tests_properties(${name} PROPERTIES LABELS arch TIMEOUT 60)
endforeach()
