# The library as its users have it: what it exports, installed, and as a part of another project.
if(NOT FAULTLINE_SANITIZE)
  add_test(NAME symbols_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/symbols_test.sh $<TARGET_FILE:faultline_static>
                                     $<TARGET_FILE:faultline_shared>)
  add_test(NAME headers_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/headers_test.py ${CMAKE_C_COMPILER}
                                     ${PROJECT_SOURCE_DIR}/include $<TARGET_FILE:faultline_static>
                                     $<TARGET_FILE:faultline_shared>)
  add_test(NAME example_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/example_test.sh ${PROJECT_SOURCE_DIR}
                                     ${PROJECT_BINARY_DIR} ${CMAKE_C_COMPILER})
  add_test(NAME alone_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/alone_test.sh ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}
                                   ${CMAKE_C_COMPILER})
endif()
