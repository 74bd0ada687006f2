"""A person in front of the OpenSim GUI, for Jython: answers every window of the script, in order.

Arguments: the script, the model, a file with the answers (a Python list): a path for a file chooser, the beginning of a
button's text for a question, ("type", text) for an input, "Cancel" in brackets for the button of the progress window.
"""

# The syntax is Python 2's: Jython runs this.
import sys

from java.awt import Container, Window
from java.io import File
from java.lang import Runnable, System, Thread
from javax.swing import JButton, JFileChooser, JOptionPane, JTextArea, SwingUtilities


class Model(object):
    def getName(self):
        return "walker"

    def getInputFileName(self):
        return File(sys.argv[2]).getPath()


def getCurrentModel():
    return Model()


def loadMotion(path):
    print("LOADED in Swing's thread: %s" % SwingUtilities.isEventDispatchThread())


def components(parent, kind):
    found = []
    for child in parent.getComponents():
        if isinstance(child, kind):
            found.append(child)
        elif isinstance(child, Container):
            found += components(child, kind)
    return found


def visible(kind):
    return [part for window in Window.getWindows() if window.isShowing() for part in components(window, kind)]


class Answer(Runnable):
    def __init__(self, answer):
        self.answer = answer
        self.given = False

    def is_given(self):
        SwingUtilities.invokeAndWait(self)
        return self.given

    def run(self):
        if isinstance(self.answer, list):
            buttons = [button for button in visible(JButton) if button.getText() == self.answer[0]]
            if buttons:
                self.given = True
                buttons[0].doClick()
            return
        for chooser in visible(JFileChooser):
            print("CHOOSER %s" % chooser.getDialogTitle())
            self.given = True
            chooser.setSelectedFile(File(self.answer))
            chooser.approveSelection()
            return
        for pane in visible(JOptionPane):
            print("DIALOG %s" % pane.getMessage())
            self.given = True
            value = JOptionPane.OK_OPTION
            if isinstance(self.answer, tuple):
                pane.setInputValue(self.answer[1])
            elif pane.getOptions():
                value = [option for option in pane.getOptions() if option.startswith(self.answer)][0]
            pane.setValue(value)
            return


class Start(Runnable):
    def run(self):
        execfile(sys.argv[1], globals())
        print("RETURNED")


def wait_for(condition, what):
    for _ in range(600):
        if condition():
            return
        Thread.sleep(100)
    print("Waited in vain for %s" % what)
    System.exit(1)


# The GUI, too, runs scripts in Swing's own thread.
SwingUtilities.invokeLater(Start())
for item in eval(open(sys.argv[3]).read()):
    wait_for(Answer(item).is_given, repr(item))
wait_for(lambda: nem2e.error is not None or (nem2e.window is not None and not nem2e.window.running), "the end")
print("ERROR %s" % nem2e.error)
if nem2e.window is not None:
    print("LAST LINE OF THE WINDOW %s" % visible(JTextArea)[0].getText().splitlines()[-1])
System.exit(0)
